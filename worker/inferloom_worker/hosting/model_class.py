"""What a source is: a model that generates text, one that gives vectors, one that ranks, or none of them.

A folder of another class (a classifier of several labels, a sparse encoder, an encoder with a decoder) has
weights that could be read, and would give vectors or text that mean nothing; it is refused by name.
"""

import logging
from collections.abc import Mapping
from enum import Enum
from pathlib import Path
from typing import Any

from inferloom_worker.sourcing.imports import large_imports
from inferloom_worker.sourcing.json_files import read_object
from inferloom_worker.sourcing.sources import ModelSource, SourceError, SourceKind
from inferloom_worker.weights.gguf import GgufFile, read_gguf
from inferloom_worker.weights.safetensors_files import stored_tensors

_CAUSAL = ("ForCausalLM", "ForConditionalGeneration", "LMHeadModel", "ModelWithLMHead", "GenerationDecoder")
_ENCODERS = ("Model", "ForMaskedLM", "ForPreTraining", "WithLMHead")
"""Ends of the names of classes whose hidden states are vectors, with what heads they may have beside."""
_OTHERS = {
    "ForTokenClassification": "a token classifier",
    "ForQuestionAnswering": "a model that finds answers in a text",
    "ForMultipleChoice": "a model of multiple choice",
    "ForNextSentencePrediction": "a classifier of sentence pairs",
    "ForImageClassification": "an image classifier",
}
_GGUF_ENCODERS = ("bert", "t5encoder", "gemma-embedding", "llama-embed")
_GGUF_KINDS = {
    "adapter": "a LoRA adapter; adapters are served as the folder that peft saved",
    "mmproj": "the part of a model that sees images; name the file of its decoder",
    "vocab": "only a vocabulary",
    "imatrix": "only the statistics that quantising uses",
}
_BERTS = ("bert", "roberta", "xlm-roberta")
"""Types that are known without a library."""
_SPARSE = "a sparse encoder (SPLADE), whose vectors are as wide as its vocabulary, which is not served"

log = logging.getLogger(__name__)


class ModelClass(Enum):
    """What a model does."""

    GENERATES = "generates"
    ENCODES = "encodes"
    RANKS = "ranks"


def model_class(source: ModelSource) -> ModelClass:
    """What the model does, as its files say.

    Raises:
        SourceError: Something that is not served; the message says what it is.
        ValueError, OSError: A file cannot be read.
    """
    if source.path is None:
        return ModelClass.GENERATES
    if source.kind is SourceKind.GGUF:
        return _of_gguf(read_gguf(source.path))
    return _of_folder(source.path)


def causal_class(model_type: str) -> str | None:
    """Transformers' class for generating with a model type. None: there is none."""
    with large_imports():
        # Imported here: it takes seconds, and folders that name their class need none of it.
        from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES
    found: str | None = MODEL_FOR_CAUSAL_LM_MAPPING_NAMES.get(model_type)
    return found


def _of_gguf(file: GgufFile) -> ModelClass:
    name, kind = file.path.name, str(file.metadata.get("general.type", "model"))
    if kind in _GGUF_KINDS:
        raise SourceError(f"{name} is {_GGUF_KINDS[kind]}")
    if any(word in file.architecture for word in _GGUF_ENCODERS):
        raise SourceError(
            f"{name} is an embedding model ({file.architecture}); "
            "embedding models are served from their safetensors folders"
        )
    if file.architecture == "t5":
        raise SourceError(f"{name} is an encoder-decoder (t5), which is not served")
    return ModelClass.GENERATES


def _of_folder(folder: Path) -> ModelClass:
    config = read_object(folder / "config.json")
    if (folder / "modules.json").is_file():
        return _of_modules(folder)
    names = config.get("architectures")
    name = names[0] if isinstance(names, list) and names and isinstance(names[0], str) else None
    if name is None:
        return _by_type(folder, config)
    # A model that sees has its class for both at the top, and an encoder-decoder says that it is one.
    if config.get("is_encoder_decoder") and not name.endswith("EncoderModel"):
        raise SourceError(f"{folder.name} is an encoder-decoder ({name}), which is not served")
    if name.endswith("ForSequenceClassification"):
        _check_scores(folder, name, config)
        return ModelClass.RANKS
    for end, title in _OTHERS.items():
        if name.endswith(end):
            raise SourceError(f"{folder.name} is {title} ({name}), which is not served")
    if name.endswith(_CAUSAL):
        return ModelClass.GENERATES
    if name.endswith(_ENCODERS):
        return ModelClass.ENCODES
    raise SourceError(f"{folder.name} is of the class {name}, which neither generates text nor gives vectors")


def _of_modules(folder: Path) -> ModelClass:
    """What sentence-transformers' modules do: those of a dense encoder, or of a cross-encoder."""
    saved = read_object(folder / "config_sentence_transformers.json").get("model_type")
    text = (folder / "modules.json").read_text(encoding="utf-8")
    if saved == "CrossEncoder":
        return ModelClass.RANKS
    if saved == "SparseEncoder" or "SpladePooling" in text or "MLMTransformer" in text:
        raise SourceError(f"{folder.name} is {_SPARSE}")
    return ModelClass.ENCODES


def _check_scores(folder: Path, name: str, config: Mapping[str, Any]) -> None:
    """Refuse a classifier that does not give one score to two texts.

    sentence-transformers leaves its mark on the cross-encoders that it saves. Without it, an encoder with one
    label is one; a decoder with one is a reward model, which reads a conversation.
    """
    labels = config.get("id2label")
    if not (isinstance(labels, Mapping) and len(labels) == 1):
        raise SourceError(f"{folder.name} is a classifier, which is not served ({name})")
    if "sentence_transformers" not in config and not _encodes(str(config.get("model_type") or "")):
        raise SourceError(f"{folder.name} is a reward model, which is not served ({name})")


def _encodes(model_type: str) -> bool:
    """Whether models of a type read a text in both directions: they can fill in masks."""
    if model_type in _BERTS:
        return True
    with large_imports():
        # Imported here: it takes seconds.
        from transformers.models.auto.modeling_auto import MODEL_FOR_MASKED_LM_MAPPING_NAMES
    return model_type in MODEL_FOR_MASKED_LM_MAPPING_NAMES


def _by_type(folder: Path, config: Mapping[str, Any]) -> ModelClass:
    """As ``AutoModelForCausalLM`` would take it if its weights have an output matrix, or share one."""
    kind = str(config.get("model_type") or "")
    if not kind:
        raise SourceError(f"{folder.name}/config.json names neither architectures nor a model_type")
    tensors = stored_tensors(folder)
    tied = config.get("tie_word_embeddings") is True and any(name.startswith("model.") for name in tensors)
    name = causal_class(kind) if "lm_head.weight" in tensors or tied else None
    if name is not None:
        log.info("%s: config.json names no architecture; taken for %s by its model_type", folder.name, name)
        return ModelClass.GENERATES
    log.info("%s: config.json names no architecture, and there is no head; taken for an encoder", folder.name)
    return ModelClass.ENCODES
