"""What a model's card says, read from its files."""

from collections import Counter
from pathlib import Path
from typing import Any

from inferloom_worker.sourcing.json_files import read_object
from inferloom_worker.sourcing.sources import ModelSource, SourceKind
from inferloom_worker.weights.gguf import GgufFile, read_gguf

_CAUSAL = ("ForCausalLM", "ForConditionalGeneration", "LMHeadModel")

# GGUF architectures by transformers' class; another one is named as the file names it.
_GGUF_CLASSES = {
    "llama": "LlamaForCausalLM",
    "mistral": "MistralForCausalLM",
    "qwen2": "Qwen2ForCausalLM",
    "qwen3": "Qwen3ForCausalLM",
    "gemma": "GemmaForCausalLM",
    "gemma2": "Gemma2ForCausalLM",
    "gemma3": "Gemma3ForCausalLM",
    "phi3": "Phi3ForCausalLM",
}


def generates(source: ModelSource) -> bool:
    """Whether the model generates text; otherwise it gives vectors."""
    if source.kind is not SourceKind.FOLDER:
        return True
    assert source.path is not None
    if (source.path / "modules.json").is_file():
        return False
    return any(name.endswith(_CAUSAL) for name in _config(source.path).get("architectures") or ())


def architecture(source: ModelSource) -> str:
    """The architecture's name, such as ``LlamaForCausalLM``."""
    if source.path is None:
        return (source.engine or "echo").capitalize()
    if source.kind is SourceKind.GGUF:
        name = read_gguf(source.path).architecture
        return _GGUF_CLASSES.get(name, name)
    return str(next(iter(_config(source.path).get("architectures") or ()), ""))


def quantization(source: ModelSource) -> str:
    """How the weights are stored, such as ``Q4_1``; empty: as floating-point numbers."""
    if source.path is None:
        return ""
    if source.kind is SourceKind.GGUF:
        return _gguf_type(read_gguf(source.path))
    config = _config(source.path).get("quantization_config")
    return str(config.get("quant_method", "")) if isinstance(config, dict) else ""


def _gguf_type(file: GgufFile) -> str:
    """The type of most of the file's bytes."""
    sizes: Counter[str] = Counter()
    for tensor in file.tensors.values():
        sizes[tensor.type.name] += tensor.data.nbytes
    most = sizes.most_common(1)[0][0] if sizes else ""
    return "" if most in ("F32", "F16", "BF16") else most


def _config(folder: Path) -> dict[str, Any]:
    return read_object(folder / "config.json")
