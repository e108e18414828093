"""Loading a decoder into transformers' own modelling code."""

from pathlib import Path
from typing import Any

import torch
from transformers import AutoConfig, AutoModelForCausalLM, GgufConfig, PreTrainedConfig, PreTrainedModel
from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES

from inferloom_worker.models.protocol import UnsupportedModelError
from inferloom_worker.weights.gguf import read_gguf


def load_transformers(path: Path, dtype: torch.dtype) -> PreTrainedModel:
    """Load the decoder in a GGUF file or a folder of safetensors, with its weights in ``dtype``.

    Raises:
        UnsupportedModelError: Transformers does not know it, does not generate text with it, or finds weights
            missing.
    """
    where: dict[str, Any] = {"pretrained_model_name_or_path": path, "use_safetensors": True}
    if path.is_file():
        where = {"pretrained_model_name_or_path": path.parent, "gguf_file": path.name}
    config = _config(path, where)
    if config.model_type not in MODEL_FOR_CAUSAL_LM_MAPPING_NAMES:
        raise UnsupportedModelError(
            f"{path.name} is of type {config.model_type}, which does not generate text from text alone"
        )
    if path.is_file():
        where["quantization_config"] = GgufConfig(dequantize=True)
    model, report = AutoModelForCausalLM.from_pretrained(
        **where, dtype=dtype, trust_remote_code=False, local_files_only=True, output_loading_info=True
    )
    if missing := sorted(report["missing_keys"]):
        # Transformers would go on with random numbers.
        raise UnsupportedModelError(f"{path.name} has no weights for {', '.join(missing[:3])}")
    if wrong := sorted(report["mismatched_keys"]):
        raise UnsupportedModelError(f"{path.name} has weights of another shape for {wrong[0][0]}")
    loaded: PreTrainedModel = model
    return loaded


def _config(path: Path, where: dict[str, Any]) -> PreTrainedConfig:
    try:
        config: PreTrainedConfig = AutoConfig.from_pretrained(
            **{name: value for name, value in where.items() if name != "use_safetensors"},
            trust_remote_code=False,
            local_files_only=True,
        )
    except (ValueError, KeyError, AttributeError, TypeError) as failure:
        kind = f"a GGUF file of the architecture {read_gguf(path).architecture}, " if path.is_file() else ""
        reason = str(failure).partition("\n")[0]
        raise UnsupportedModelError(
            f"{path.name} is {kind}which is not computed here" if kind else f"{path.name}: {reason}"
        ) from failure
    return config
