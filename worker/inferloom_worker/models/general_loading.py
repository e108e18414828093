"""Loading a decoder into transformers' own modelling code."""

import logging
import math
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch
from transformers import AutoConfig, AutoModelForCausalLM, GgufConfig, PreTrainedConfig, PreTrainedModel
from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING

from inferloom_worker.models.protocol import UnsupportedModelError
from inferloom_worker.weights.gguf import read_gguf
from inferloom_worker.weights.safetensors_files import tensor_shapes

log = logging.getLogger(__name__)


def load_transformers(path: Path, dtype: torch.dtype) -> PreTrainedModel:
    """Load the decoder in a GGUF file or a folder of safetensors, with its weights in ``dtype``.

    Raises:
        UnsupportedModelError: Transformers does not know it, does not generate text with it or keeps state of
            another kind than attention's, or weights are missing.
    """
    where: dict[str, Any] = {"pretrained_model_name_or_path": path}
    if path.is_file():
        where = {"pretrained_model_name_or_path": path.parent, "gguf_file": path.name}
    config = _config(path, where)
    _refuse_class(path, config)
    _refuse_incomplete(path, config)
    more = (
        {"quantization_config": GgufConfig(dequantize=True)} if path.is_file() else {"use_safetensors": True}
    )
    try:
        model, report = AutoModelForCausalLM.from_pretrained(
            **where,
            **more,
            dtype=dtype,
            trust_remote_code=False,
            local_files_only=True,
            output_loading_info=True,
            ignore_mismatched_sizes=True,  # they are told below, by name
        )
    except Exception as failure:
        # A config that contradicts itself makes its code raise whatever it likes.
        log.info("%s: transformers cannot load it", path.name, exc_info=True)
        raise UnsupportedModelError(f"transformers cannot load {path.name}: {failure}") from failure
    for name, found, expected in sorted(report["mismatched_keys"]):
        raise UnsupportedModelError(
            f"the tensor {name} of {path.name} has the wrong shape: "
            f"{list(expected)} expected, {list(found)} found"
        )
    if missing := sorted(report["missing_keys"]):
        # Transformers would go on with random numbers.
        raise UnsupportedModelError(f"{path.name} has no weights for {', '.join(missing[:3])}")
    loaded: PreTrainedModel = model
    return loaded


def _config(path: Path, where: dict[str, Any]) -> PreTrainedConfig:
    try:
        config: PreTrainedConfig = AutoConfig.from_pretrained(
            **where, trust_remote_code=False, local_files_only=True
        )
    except (ValueError, KeyError, AttributeError, TypeError) as failure:
        if path.is_file():
            kind = read_gguf(path).architecture
            raise UnsupportedModelError(
                f"{path.name} is a GGUF file of the architecture {kind}, which is not computed"
            ) from failure
        reason = str(failure).partition("\n")[0]
        raise UnsupportedModelError(f"{path.name} has a config that is not known: {reason}") from failure
    return config


def _refuse_class(path: Path, config: PreTrainedConfig) -> None:
    """Make sure that the paged attention can be put into a model, before its weights are read."""
    text = config.get_text_config()
    if type(config) not in MODEL_FOR_CAUSAL_LM_MAPPING:
        raise UnsupportedModelError(
            f"{path.name} is of type {config.model_type}, which does not generate text from text alone"
        )
    kind = MODEL_FOR_CAUSAL_LM_MAPPING[type(config)]
    if not getattr(kind, "_supports_attention_backend", False) or getattr(kind, "_is_stateful", False):
        raise UnsupportedModelError(
            f"models of type {text.model_type} are not served: they keep state that the paged cache cannot "
            "hold, or compute attention in a way that cannot be replaced"
        )
    if getattr(text, "use_bidirectional_attention", False):
        raise UnsupportedModelError("the model's attention is not causal, so it cannot generate text")


def _refuse_incomplete(path: Path, config: PreTrainedConfig) -> None:
    """Make sure that the files hold about as many numbers as the config describes: what is missing would be
    made up, in as much memory as the config asks for."""
    with torch.device("meta"):
        described = sum(p.numel() for p in AutoModelForCausalLM.from_config(config).parameters())
    held = _numbers(t.shape for t in read_gguf(path).tensors.values()) if path.is_file() else None
    if held is None:
        held = _numbers(tensor_shapes(path).values())
    # Some classes give a matrix twice that files hold once.
    if described > 2 * held:
        raise UnsupportedModelError(
            f"{path.name} holds {held} numbers, and its {'metadata' if path.is_file() else 'config'} "
            f"describes a model of {described}"
        )


def _numbers(shapes: Iterable[tuple[int, ...]]) -> int:
    return sum(math.prod(shape) for shape in shapes)
