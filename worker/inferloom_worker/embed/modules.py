"""What is done with the hidden states of a text, as sentence-transformers' module files say it."""

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from inferloom_worker.embed.files import UnknownFormError, settle
from inferloom_worker.kernels.abi import POOLINGS
from inferloom_worker.sourcing.json_files import read_object

_TYPE = re.compile(
    r"sentence_transformers\.(?:models|base\.modules|sentence_transformer\.modules)"
    r"(?:\.\w+)?\.(Transformer|Pooling|Normalize)"
)
_FLAGS = {
    "pooling_mode_cls_token": "cls",
    "pooling_mode_max_tokens": "max",
    "pooling_mode_mean_tokens": "mean",
    "pooling_mode_mean_sqrt_len_tokens": "mean_sqrt_len_tokens",
    "pooling_mode_weightedmean_tokens": "weightedmean",
    "pooling_mode_lasttoken": "lasttoken",
}
"""How versions before 6 spell the kinds of pooling."""


@dataclass(frozen=True, slots=True)
class Modules:
    """What follows a transformer."""

    pooling: str = "mean"
    """One of :data:`POOLINGS`."""
    normalizes: bool = False
    """Whether vectors are scaled to unit length."""


def read_modules(folder: Path, hidden: int) -> Modules:
    """What ``modules.json`` and the files that it names say, for hidden states of ``hidden`` numbers.

    Raises:
        UnknownFormError: They are other modules, or have other settings.
    """
    modules = json.loads((folder / "modules.json").read_text(encoding="utf-8"))
    for module in modules:
        settle("modules.json", module, free=("idx", "name", "path", "type"), fixed={})
    matches = [_TYPE.fullmatch(module["type"]) for module in modules]
    kinds = [match and match[1] for match in matches]
    if kinds not in (["Transformer", "Pooling"], ["Transformer", "Pooling", "Normalize"]):
        raise UnknownFormError(f"modules.json has {[module['type'] for module in modules]}")
    paths = [module["path"] for module in modules]
    if paths[0] or not all(re.fullmatch(r"\w[\w.-]*", path) for path in paths[1:]):
        raise UnknownFormError(f"modules.json has the paths {paths}")
    for path in paths[2:]:
        names: tuple[Any, ...] = (None, "sentence_embedding")
        fixed = {"module_input_name": names[1:], "module_output_name": names}
        settle(f"{path}/config.json", read_object(folder / path / "config.json"), free=(), fixed=fixed)
    pooling = _pooling(f"{paths[1]}/config.json", read_object(folder / paths[1] / "config.json"), hidden)
    return Modules(pooling, normalizes=len(paths) > 2)


def _pooling(file: str, config: dict[str, Any], hidden: int) -> str:
    dimensions = {"embedding_dimension": (hidden,), "word_embedding_dimension": (hidden,)}
    settle(file, config, free=(*_FLAGS, "pooling_mode"), fixed={**dimensions, "include_prompt": (True,)})
    if not dimensions.keys() & config.keys():
        raise UnknownFormError(f"{file} has no dimension")
    if "pooling_mode" in config:
        modes = config["pooling_mode"]
    else:
        modes = [mode for flag, mode in _FLAGS.items() if config.get(flag)] or ["mean"]
    modes = [modes] if isinstance(modes, str) else modes
    if len(modes) != 1 or modes[0] not in POOLINGS:
        raise UnknownFormError(f"{file} pools by {', '.join(modes)}")
    return str(modes[0])
