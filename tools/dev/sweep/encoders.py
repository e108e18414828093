"""One kind of encoder: a random model, whose vectors sentence-transformers and the worker compute."""

from pathlib import Path
from typing import Any

import numpy as np
import tokenizers
import torch
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.modules import Normalize, Pooling, Transformer
from tokenizers.processors import TemplateProcessing
from transformers import AutoConfig, AutoModel, AutoModelForTextEncoding, PreTrainedTokenizerFast

from inferloom_mesh.errors import InferloomError
from inferloom_worker.embed.encoder_loading import load_encoder
from inferloom_worker.embed.options import EmbedOptions
from inferloom_worker.text.bytes_tokenizer import END, bytes_tokenizer
from sweep.causal import Outcome

WIDTH = 64
POSITIONS = 66
"""Rows of the table of positions, where there is one."""

_SIZES: dict[str, Any] = {
    "vocab_size": 258,
    "hidden_size": WIDTH,
    "dim": WIDTH,
    "d_model": WIDTH,
    "embedding_size": WIDTH,
    "intermediate_size": 96,
    "hidden_dim": 96,
    "d_ff": 96,
    "d_kv": 16,
    "num_hidden_layers": 2,
    "n_layers": 2,
    "num_layers": 2,
    "num_attention_heads": 4,
    "n_heads": 4,
    "num_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 16,
    "max_position_embeddings": POSITIONS,
    "local_attention": 16,
}
KINDS: dict[str, dict[str, Any]] = {
    "bert": {"modules": False},
    "roberta": {"modules": False},
    "xlm-roberta": {"modules": False},
    "camembert": {"modules": False},
    "data2vec-text": {"modules": False},
    "distilbert": {},
    "mpnet": {"modules": False},
    "modernbert": {},
    "deberta-v2": {},
    "electra": {},
    "albert": {},
    "nomic_bert": {},
    "jina_embeddings_v3": {},
    "eurobert": {},
    "t5": {"modules": False},
    "qwen3": {"pooling": "lasttoken"},
}
"""Model types, with whether the folder has sentence-transformers' files, and how these pool."""

TEXTS = ("a", "Hello world", "the capital of France is Paris", "x" * 40, "naïve café")


def compare_encoder(kind: str, folder: Path) -> Outcome:
    """Write a random encoder of a kind into ``folder`` and compare vectors of short texts and of the longest
    one; one more token must be refused."""
    try:
        path = _write(kind, folder)
        reference = SentenceTransformer(str(path), device="cpu", local_files_only=True)
        expected = reference.encode(list(TEXTS))
    except Exception as failure:
        return Outcome("no model", f"{type(failure).__name__}: {' '.join(str(failure).split())}"[:240])
    try:
        encoder = load_encoder(path, EmbedOptions(dtype="float32"))
    except ValueError as refusal:
        return Outcome("refused", str(refusal))
    most = min(encoder.info.max_tokens, 512)
    read = [encoder.reader.read("input", text, truncate=False) for text in TEXTS]
    rows = encoder.encode(read)
    if encoder.info.normalizes:
        rows = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    if not np.allclose(rows, expected, atol=1e-5):
        return Outcome("different", f"by {np.abs(rows - expected).max():.2g}")
    longest = encoder.encode([[5] * most])
    if not np.isfinite(longest).all():
        return Outcome("different", f"{most} tokens have no finite vector")
    try:
        encoder.reader.read("input", [5] * (encoder.info.max_tokens + 1), truncate=False)
    except InferloomError:
        return Outcome("equal", f"up to {encoder.info.max_tokens} tokens")
    return Outcome("different", "too many tokens are taken")


def _write(kind: str, folder: Path) -> Path:
    torch.manual_seed(11)
    known = AutoConfig.for_model(kind).to_dict()
    # Special tokens past the vocabulary get another place in it.
    special = {name: 1 for name, value in known.items() if name.endswith("_token_id") and (value or 0) > 257}
    sizes = {name: value for name, value in _SIZES.items() if name in known}
    config = AutoConfig.for_model(kind, **special, **sizes)
    form = KINDS[kind]
    model = (AutoModelForTextEncoding if kind == "t5" else AutoModel).from_config(config)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim > 1:
                parameter.normal_(0.0, 0.12)  # wide enough to tell texts apart
    base = folder / "base"
    model.save_pretrained(base)
    _tokenizer().save_pretrained(base)
    if not form.get("modules", True):
        return base
    pooling = Pooling(WIDTH, form.get("pooling", "mean"))
    modules = [Transformer(str(base)), pooling, Normalize()]
    SentenceTransformer(modules=modules, device="cpu").save_pretrained(
        str(folder / "modules"), create_model_card=False
    )
    return folder / "modules"


def _tokenizer() -> PreTrainedTokenizerFast:
    """One token for each byte, and one that closes a text; without a limit of its own."""
    backend = tokenizers.Tokenizer.from_str(bytes_tokenizer()._backend.to_str())
    backend.post_processor = TemplateProcessing(
        single=f"$A {END}", special_tokens=[(END, backend.token_to_id(END))]
    )
    return PreTrainedTokenizerFast(tokenizer_object=backend, pad_token=END, eos_token=END)
