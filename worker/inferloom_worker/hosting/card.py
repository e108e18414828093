"""What a model's card says, read from its files."""

from collections import Counter
from pathlib import Path
from typing import Any

from gguf import LlamaFileType

from inferloom.v1 import inference_pb2 as pb
from inferloom_worker.engine.protocol import Continuity, EngineInfo
from inferloom_worker.sourcing.json_files import read_object
from inferloom_worker.sourcing.sources import ModelSource, SourceKind
from inferloom_worker.weights.gguf import GgufFile, read_gguf
from inferloom_worker.weights.quantized import quantization_config

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

_CONTINUITY = {
    Continuity.NONE: pb.CONTINUITY_NONE,
    Continuity.TOKENS: pb.CONTINUITY_TOKENS,
    Continuity.EXACT: pb.CONTINUITY_EXACT,
}


def architecture(source: ModelSource) -> str:
    """The architecture's name, such as ``LlamaForCausalLM``."""
    if source.path is None:
        return (source.engine or "echo").capitalize()
    if source.kind is SourceKind.GGUF:
        name = read_gguf(source.path).architecture
        return _GGUF_CLASSES.get(name, name)
    config = _config(source.path)
    names = config.get("architectures")
    named = names[0] if isinstance(names, list) and names else None
    return str(named or config.get("model_type") or "")


def quantization(source: ModelSource) -> str:
    """How the weights are stored, such as ``Q4_1``; empty: as floating-point numbers."""
    if source.path is None:
        return ""
    if source.kind is SourceKind.GGUF:
        return _gguf_type(read_gguf(source.path))
    config = quantization_config(_config(source.path))
    return "" if config is None else str(config.get("quant_method", ""))


def continuation(info: EngineInfo) -> pb.Continuation:
    """How an engine's generations go on elsewhere."""
    return pb.Continuation(continuity=_CONTINUITY[info.continuity], without=sorted(info.without))


def _gguf_type(file: GgufFile) -> str:
    """The type that the file says it has, such as ``Q4_K_M``; else that of most of its bytes."""
    stated = file.metadata.get("general.file_type")
    names = {kind.value: kind.name for kind in LlamaFileType if kind is not LlamaFileType.GUESSED}
    if isinstance(stated, int) and stated in names:
        most = names[stated].removeprefix("MOSTLY_").removeprefix("ALL_")
    else:
        sizes: Counter[str] = Counter()
        for tensor in file.tensors.values():
            sizes[tensor.type.name] += tensor.data.nbytes
        most = sizes.most_common(1)[0][0] if sizes else ""
    return "" if most in ("F32", "F16", "BF16") else most


def _config(folder: Path) -> dict[str, Any]:
    return read_object(folder / "config.json")
