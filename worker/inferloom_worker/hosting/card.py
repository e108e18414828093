"""What a model's card says: of its files, and of what computes it."""

from collections import Counter
from pathlib import Path
from typing import Any

from gguf import LlamaFileType

from inferloom.parameter_table import Honour
from inferloom.v1 import inference_pb2 as pb
from inferloom_worker.embed.options import EmbedderInfo, RankerInfo
from inferloom_worker.engine.protocol import Continuity, EngineInfo
from inferloom_worker.hosting.capabilities import honoured_by
from inferloom_worker.hosting.weights_hash import model_files, weights_hash
from inferloom_worker.sourcing.json_files import read_object
from inferloom_worker.sourcing.sources import ModelSource, SourceKind
from inferloom_worker.text.tokenizer import Tokenizer
from inferloom_worker.weights.gguf import GgufFile, read_gguf
from inferloom_worker.weights.quantized import quantization_config

OWNER = "inferloom"
"""Who provides the models, as their cards say."""

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


def drawn_up(name: str, source: ModelSource, tokenizer: Tokenizer) -> pb.Model:
    """The card of a model that is served as ``name``, with what its files say."""
    more = source.spec.encode() if source.path is None else b""
    return pb.Model(
        id=name,
        owned_by=OWNER,
        weights_hash=weights_hash(model_files(source), more),
        tokenizer_hash=tokenizer.hash,
        quantization=quantization(source),
        root=source.root,
        architecture=architecture(source),
    )


def offer_embeddings(model: pb.Model, info: EmbedderInfo) -> None:
    """Say that it gives vectors."""
    model.tasks.append(pb.TASK_EMBED)
    model.embedding_dimensions = info.dimensions
    model.supported_parameters.extend(honoured_by(Honour.EMBEDDING))
    if info.shortens:
        model.supported_parameters.extend(honoured_by(Honour.SHORTENING))


def withdraw_embeddings(model: pb.Model) -> None:
    """Say so no more: an adapter changes completions, and the base's vectors are asked of the base."""
    kept = [task for task in model.tasks if task != pb.TASK_EMBED]
    if len(kept) < len(model.tasks):
        model.tasks[:] = kept
        model.embedding_dimensions = 0
        of_embeddings = honoured_by(Honour.EMBEDDING, Honour.SHORTENING)
        model.supported_parameters[:] = [p for p in model.supported_parameters if p not in of_embeddings]


def tell_reader(model: pb.Model, info: EmbedderInfo | RankerInfo) -> None:
    """Say what computes a model that generates nothing."""
    model.context_length = info.max_tokens
    model.vocabulary_size = info.vocab_size
    model.dtype = info.dtype
    model.engine, model.instruction_set = info.engine, info.instruction_set


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
