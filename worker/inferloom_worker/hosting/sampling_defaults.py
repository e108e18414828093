"""Sampling values that a model brings along for requests that are silent about them."""

import logging
import math
from collections.abc import Mapping
from typing import Any

from inferloom.parameters import FIELDS
from inferloom.v1 import inference_pb2 as pb
from inferloom_worker.hosting.load_options import GenerationConfig
from inferloom_worker.sourcing.json_files import read_object
from inferloom_worker.sourcing.sources import ModelSource, SourceKind
from inferloom_worker.weights.gguf import read_gguf

_FOLDER_KEYS = {
    "temperature": "temperature",
    "top_p": "top_p",
    "top_k": "top_k",
    "min_p": "min_p",
    "repetition_penalty": "repetition_penalty",
}
# llama.cpp's converter writes these from the same file of the original folder.
_GGUF_KEYS = {
    "general.sampling.temp": "temperature",
    "general.sampling.top_p": "top_p",
    "general.sampling.top_k": "top_k",
    "general.sampling.min_p": "min_p",
    "general.sampling.penalty_repeat": "repetition_penalty",
}
_ROWS = {row.capability: row for row in FIELDS if row.path.startswith("sampling.")}

log = logging.getLogger(__name__)


def sampling_defaults(source: ModelSource, wanted: GenerationConfig = "auto") -> pb.SamplingOptions:
    """The values that the model's ``generation_config.json``, or its GGUF file, gives; only those are set.

    As in vLLM, how tokens are drawn is taken from it and how many (``max_new_tokens``) is not;
    ``do_sample: false`` is greedy. A value that a request could not have is passed over, with a log line.

    Raises:
        ValueError: The file holds no JSON object.
    """
    defaults = pb.SamplingOptions()
    if wanted == "openai" or source.path is None:
        return defaults
    if source.kind is SourceKind.GGUF:
        values, keys = read_gguf(source.path).metadata, _GGUF_KEYS
    else:
        values, keys = read_object(source.path / "generation_config.json"), _FOLDER_KEYS
    _take(values, keys, defaults, source.root)
    if source.kind is SourceKind.FOLDER and values.get("do_sample") is False:
        defaults.temperature = 0.0
    return defaults


def _take(
    values: Mapping[str, Any], keys: Mapping[str, str], defaults: pb.SamplingOptions, root: str
) -> None:
    for key, name in keys.items():
        value = values.get(key)
        if value is None:
            continue
        if name == "top_k" and value == -1:
            value = 0  # another spelling of "all"
        if _fits(name, value):
            setattr(defaults, name, value)
        else:
            log.warning("%s: its sampling default %s = %.40r is passed over", root, key, value)


def _fits(name: str, value: Any) -> bool:
    row = _ROWS[name]
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return False
    if row.type != "float" and value != int(value):
        return False
    return row.range is None or value in row.range
