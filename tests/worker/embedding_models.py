"""Tiny random embedding models as folders, in the forms that are found in the wild."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import tokenizers
import torch
from numpy.typing import NDArray
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.modules import Dense, Normalize, Pooling, Transformer
from tokenizers.processors import TemplateProcessing
from transformers import AutoConfig, AutoModel, AutoModelForCausalLM, PreTrainedTokenizerFast

from inferloom_worker.embed.options import NOBODY, Caller
from inferloom_worker.embed.protocol import TextEmbedder
from inferloom_worker.text.bytes_tokenizer import END, bytes_tokenizer

HIDDEN = 64

_SHAPE: dict[str, Any] = {
    "vocab_size": 258,
    "hidden_size": HIDDEN,
    "intermediate_size": 96,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "max_position_embeddings": 256,
}
_QWEN3 = {"model_type": "qwen3", "num_key_value_heads": 2, "head_dim": 8}
_OLMO2 = {"model_type": "olmo2"}


def bert(folder: Path) -> Path:
    """A BERT encoder: without module files, its vectors are means."""
    return _write(folder, AutoModel, {"model_type": "bert"})


def decoder(folder: Path) -> Path:
    """A Qwen3 decoder as it is served for chat, whose tokenizer closes texts as Qwen3-Embedding's does."""
    return _write(folder, AutoModelForCausalLM, _QWEN3)


def general_decoder(folder: Path) -> Path:
    """A decoder that the fast path does not compute."""
    return _write(folder, AutoModelForCausalLM, _OLMO2)


def bert_cls(folder: Path) -> Path:
    """BERT, the first token's state, scaled to unit length."""
    return _modules(bert(folder / "base"), folder, Pooling(HIDDEN, "cls"), Normalize())


def bert_dense(folder: Path) -> Path:
    """BERT, the mean, and a projection to another width."""
    return _modules(bert(folder / "base"), folder, Pooling(HIDDEN, "mean"), Dense(HIDDEN, 32))


def qwen3_embedding(folder: Path) -> Path:
    """Qwen3-Embedding's form: a decoder, the last token's state, unit length, and an instruction."""
    return _modules(
        decoder(folder / "base"),
        folder,
        Pooling(HIDDEN, "lasttoken"),
        Normalize(),
        prompts={"query": "Instruct: find\nQuery:", "document": ""},
        default_prompt_name="query",
    )


def instructor(folder: Path) -> Path:
    """BERT with an instruction that is read and then left out of the mean."""
    return _modules(
        bert(folder / "base"),
        folder,
        Pooling(HIDDEN, "mean", include_prompt=False),
        Normalize(),
        prompts={"query": "Represent this: "},
        default_prompt_name="query",
    )


FORMS: tuple[Callable[[Path], Path], ...] = (bert, bert_cls, bert_dense, qwen3_embedding, instructor)
"""The forms that sentence-transformers' own modules compute."""


def _write(folder: Path, kind: Any, fields: dict[str, Any]) -> Path:
    torch.manual_seed(11)
    model = kind.from_config(AutoConfig.for_model(**_SHAPE, **fields))
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim > 1:
                parameter.normal_(0.0, 0.12)  # wide enough to tell texts apart
    model.save_pretrained(folder)
    _tokenizer().save_pretrained(folder)
    return folder


def _tokenizer() -> PreTrainedTokenizerFast:
    """One token for each byte, and one that closes a text."""
    backend = tokenizers.Tokenizer.from_str(bytes_tokenizer()._backend.to_str())
    backend.post_processor = TemplateProcessing(
        single=f"$A {END}", special_tokens=[(END, backend.token_to_id(END))]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=backend, pad_token=END, eos_token=END, model_max_length=256
    )


def _modules(base: Path, folder: Path, *modules: torch.nn.Module, **settings: Any) -> Path:
    transformer = Transformer(str(base), max_seq_length=256)
    SentenceTransformer(modules=[transformer, *modules], device="cpu", **settings).save_pretrained(
        str(folder), create_model_card=False
    )
    return folder


async def whole(
    embedder: TextEmbedder, texts: list[list[int]], caller: Caller = NOBODY
) -> NDArray[np.float32]:
    """All vectors of a request, once they are there; leaving closes the stream."""
    stream = embedder.embed(texts, caller)
    try:
        return np.concatenate([rows async for _, rows in stream])
    finally:
        stream.close()
