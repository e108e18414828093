"""One model in each format that the peers want, made once from the demo model's file."""

import os
import subprocess
from pathlib import Path

from inferloom_worker.sourcing import demo

CHAT_MODEL = "smollm2-135m-instruct"
EMBEDDING_MODEL = "all-minilm-l6-v2"

FORMATS = ("q4_1", "q4_0", "q8_0", "q4_k", "q6_k", "bf16")
"""The first is the file as it comes, the last a folder with safetensors. Where this model's rows are no whole
number of blocks of 256, ``q4_k`` has Q4_0 and ``q6_k`` has Q8_0."""

_QUANTISE: dict[str, tuple[str, ...]] = {
    "q4_0": ("q4_0",),
    "q8_0": ("q8_0",),
    "q4_k": ("--tensor-type", "ffn_down=q4_k", "q4_0"),
    "q6_k": ("q6_k",),
    "bf16.gguf": ("bf16",),
}
_FROM_BF16: dict[str, tuple[str, ...]] = {"bf16.q8_0": ("q8_0",), "bf16.q4_1": ("q4_1",)}
"""What is made from the bfloat16 numbers rather than from the file."""


def weights(name: str, cache: Path, llama: Path | None = None) -> Path:
    """The chat model in a format: a GGUF file, or for ``bf16`` a folder with safetensors.

    Args:
        name: One of :data:`FORMATS`; or ``bf16.gguf``, ``bf16.q8_0`` or ``bf16.q4_1``: a GGUF file with the
            numbers of ``bf16``, or rounded from them.
        cache: Folder for what is made.
        llama: Folder with llama.cpp's programs, which quantise. None: only ``q4_1`` and ``bf16`` can be made.
    """
    original = demo.fetch(CHAT_MODEL)
    if name == "q4_1":
        return original
    file = (
        f"{CHAT_MODEL}.bf16" if name == "bf16" else f"{CHAT_MODEL}.{name.removesuffix('.gguf').upper()}.gguf"
    )
    made = cache / file
    if made.exists():
        return made
    cache.mkdir(parents=True, exist_ok=True)
    draft = made.with_name(f"draft-{os.getpid()}-{made.name}")
    if name == "bf16":
        _dequantise(original, draft)
    else:
        assert llama is not None
        source = weights("bf16.gguf", cache, llama) if name in _FROM_BF16 else original
        *how, kind = (_QUANTISE | _FROM_BF16)[name]
        command = [str(llama / "llama-quantize"), "--allow-requantize", *how, str(source), str(draft), kind]
        environment = os.environ | {"LD_LIBRARY_PATH": str(llama)}
        subprocess.run(command, env=environment, check=True, capture_output=True)
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
