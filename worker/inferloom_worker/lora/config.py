"""An adapter's ``adapter_config.json``, in peft's terms.

A setting that is not known here and is not off may change what the adapter computes, so it is refused.
"""

import json
import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

CONFIG_FILE = "adapter_config.json"


class AdapterError(ValueError):
    """An adapter cannot be served; the message says why."""


_KNOWN = frozenset({"peft_type", "r", "lora_alpha", "use_rslora", "rank_pattern", "alpha_pattern", "bias"})

_OF_TRAINING = frozenset(
    {
        "auto_mapping",
        "base_model_name_or_path",
        "corda_config",
        "ensure_weight_tying",
        "eva_config",
        "fan_in_fan_out",
        "inference_mode",
        "loftq_config",
        "lora_dropout",
        "megatron_config",
        "megatron_core",
        "peft_version",
        "qalora_group_size",
        "revision",
        "runtime_config",
        "task_type",
    }
)
"""Settings that change nothing of what a finished adapter computes."""

_OF_SELECTION = frozenset({"target_modules", "exclude_modules", "layers_to_transform", "layers_pattern"})
"""Settings that chose the modules. The file of weights names those that were chosen."""

_KEEPS_BASE = (True, False, "gaussian", "eva", "mica")
"""Values of ``init_lora_weights`` that leave the base as it is; others move a part of it into the adapter."""

_TITLES = {
    "use_dora": "DoRA",
    "modules_to_save": "whole modules beside the low-rank ones (modules_to_save)",
    "trainable_token_indices": "trained token embeddings",
    "target_parameters": "parameters that are no module (target_parameters)",
    "alora_invocation_tokens": "activated LoRA",
    "lora_bias": "biases (lora_bias)",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class LoraConfig:
    """Rank and scale of each adapted module. Patterns are regular expressions for the end of its name."""

    rank: int
    alpha: float
    rank_stabilized: bool = False
    """Scaled by 1/√rank instead of 1/rank (Kalajdzievski, 2023)."""
    rank_pattern: Mapping[str, int] = field(default_factory=dict)
    alpha_pattern: Mapping[str, float] = field(default_factory=dict)

    def rank_of(self, module: str) -> int:
        """The rank of a module's change."""
        key = _matching(self.rank_pattern, module)
        return self.rank if key is None else self.rank_pattern[key]

    def scale_of(self, module: str) -> float:
        """The factor on a module's change."""
        key = _matching(self.alpha_pattern, module)
        alpha = self.alpha if key is None else self.alpha_pattern[key]
        rank = self.rank_of(module)
        return alpha / (math.sqrt(rank) if self.rank_stabilized else rank)


def read_config(folder: Path) -> LoraConfig:
    """Read an adapter's settings.

    Raises:
        AdapterError: It is not a LoRA adapter, is of a kind that is not supported, or is damaged.
    """
    try:
        values = json.loads((folder / CONFIG_FILE).read_text(encoding="utf-8"))
    except FileNotFoundError as missing:
        raise AdapterError(
            f"{folder.name} has no {CONFIG_FILE}, so it is no adapter made by peft"
        ) from missing
    except ValueError as damaged:
        raise AdapterError(f"{CONFIG_FILE} is not JSON: {damaged}") from damaged
    if not isinstance(values, dict):
        raise AdapterError(f"{CONFIG_FILE} is not a JSON object")
    _refuse_unsupported(values)
    return LoraConfig(
        rank=_number(values, "r", 8, whole=True),
        alpha=_number(values, "lora_alpha", 8),
        rank_stabilized=bool(values.get("use_rslora")),
        rank_pattern=_patterns(values, "rank_pattern", whole=True),
        alpha_pattern=_patterns(values, "alpha_pattern"),
    )


def _refuse_unsupported(values: Mapping[str, Any]) -> None:
    kind = values.get("peft_type")
    if kind != "LORA":
        raise AdapterError(f"adapters of peft type {kind} are not supported, only LORA")
    if (bias := values.get("bias", "none")) != "none":
        raise AdapterError(f"adapters that train biases are not supported (bias is {bias!r}, not 'none')")
    start = values.get("init_lora_weights", True)
    if not any(start is kept or start == kept for kept in _KEEPS_BASE):
        raise AdapterError(
            f"the adapter started from a part of its base (init_lora_weights is {start!r}); "
            "save it with peft's path_initial_model_for_weight_conversion"
        )
    known = _KNOWN | _OF_TRAINING | _OF_SELECTION | {"init_lora_weights"}
    for name in sorted(values.keys() - known):
        if values[name]:
            raise AdapterError(f"adapters with {_TITLES.get(name, name)} are not supported")


def _number(values: Mapping[str, Any], name: str, default: int, *, whole: bool = False) -> Any:
    value = values.get(name, default)
    wanted = int if whole else (int, float)
    if isinstance(value, bool) or not isinstance(value, wanted) or not math.isfinite(value):
        raise AdapterError(f"{name} in {CONFIG_FILE} must be a number, not {value!r}")
    if whole and value < 1:
        raise AdapterError(f"{name} in {CONFIG_FILE} must be at least 1, not {value}")
    return value


def _patterns(values: Mapping[str, Any], name: str, *, whole: bool = False) -> dict[str, Any]:
    found = values.get(name) or {}
    if not isinstance(found, dict):
        raise AdapterError(f"{name} in {CONFIG_FILE} must be an object")
    for pattern in found:
        try:
            re.compile(pattern)
        except re.error as wrong:
            raise AdapterError(f"{name} in {CONFIG_FILE} has a bad pattern {pattern!r}: {wrong}") from wrong
    return {pattern: _number(found, pattern, 0, whole=whole) for pattern in found}


def _matching(patterns: Iterable[str], module: str) -> str | None:
    """The first pattern for a module, as peft's ``get_pattern_key`` finds it."""
    return next((key for key in patterns if re.match(rf"(.*\.)?({key})$", module)), None)
