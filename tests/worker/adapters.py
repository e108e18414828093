"""Random adapters that peft makes, and what peft computes with them."""

from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig, PeftModel, get_peft_model
from transformers import PreTrainedModel

from tests.worker.models import reference


def make_adapter(folder: Path, base: Path, seed: int = 1, **fields: Any) -> Path:
    """Write a random adapter of the model at ``base`` into ``folder``, and return the folder."""
    torch.manual_seed(seed)
    settings = {"r": 4, "lora_alpha": 6, "target_modules": "all-linear", "init_lora_weights": False}
    adapted = get_peft_model(reference(base), LoraConfig(**{**settings, **fields}))
    with torch.no_grad():
        for name, parameter in adapted.named_parameters():
            if "lora_" in name:
                parameter.normal_(0.0, 0.2)
    adapted.save_pretrained(str(folder))
    return folder


def adapted_reference(base: Path, adapter: Path) -> PreTrainedModel:
    """The model at ``base`` with an adapter, as peft computes it in float32."""
    model: PreTrainedModel = PeftModel.from_pretrained(reference(base), adapter).get_base_model()
    return model.eval()
