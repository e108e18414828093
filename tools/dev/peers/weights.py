"""One model in each format that the peers want, made once from the demo model's file."""

import os
import subprocess
from pathlib import Path

from inferloom_worker import demo

CHAT_MODEL = "smollm2-135m-instruct"
EMBEDDING_MODEL = "all-minilm-l6-v2"

FORMATS = ("q4_1", "q4_0", "q8_0", "bf16")
"""The first is the file as it comes."""


def weights(name: str, cache: Path, llama: Path) -> Path:
    """The chat model in a format: a GGUF file, or for ``bf16`` a folder with safetensors.

    Args:
        name: One of :data:`FORMATS`.
        cache: Folder for what is made.
        llama: Folder with llama.cpp's programs, for quantising.
    """
    original = demo.fetch(CHAT_MODEL)
    if name == "q4_1":
        return original
    made = cache / (f"{CHAT_MODEL}.bf16" if name == "bf16" else f"{CHAT_MODEL}.{name.upper()}.gguf")
    if made.exists():
        return made
    cache.mkdir(parents=True, exist_ok=True)
    draft = made.with_name(f"draft-{os.getpid()}-{made.name}")
    if name == "bf16":
        _dequantise(original, draft)
    else:
        quantise = [str(llama / "llama-quantize"), "--allow-requantize", str(original), str(draft), name]
        environment = os.environ | {"LD_LIBRARY_PATH": str(llama)}
        subprocess.run(quantise, env=environment, check=True, capture_output=True)
    draft.rename(made)  # so that a run that was cut short leaves nothing that looks whole
    return made


def embedder() -> Path:
    """The embedding model: a folder."""
    return demo.fetch(EMBEDDING_MODEL)


def _dequantise(file: Path, folder: Path) -> None:
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig

    where = {"pretrained_model_name_or_path": str(file.parent), "gguf_file": file.name}
    tokenizer = AutoTokenizer.from_pretrained(**where)
    model = AutoModelForCausalLM.from_pretrained(
        **where, dtype=torch.bfloat16, quantization_config=GgufConfig(dequantize=True)
    )
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
