"""Tiny random cross-encoders as folders, in the forms that are found in the wild."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import tokenizers
import torch
from sentence_transformers import CrossEncoder
from tokenizers.processors import TemplateProcessing
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    AutoModelForSequenceClassification,
    PreTrainedTokenizerFast,
)

from inferloom_worker.text.bytes_tokenizer import END, bytes_tokenizer

_SHAPE: dict[str, Any] = {
    "vocab_size": 260,
    "hidden_size": 64,
    "intermediate_size": 96,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "max_position_embeddings": 130,
}
TEMPLATE = (
    "{% for message in messages %}{% if message.role == 'query' %}Q: {{ message.content }}\n"
    "{% elif message.role == 'document' %}D: {{ message.content }}\n{% else %}{{ message.content }}\n"
    "{% endif %}{% endfor %}Relevant?"
)


def bert(folder: Path) -> Path:
    """BERT with one label, as it is found without any mark of sentence-transformers."""
    return _write(folder, AutoModelForSequenceClassification, model_type="bert", num_labels=1)


def bert_identity(folder: Path) -> Path:
    """The same with sentence-transformers' mark, and no activation."""
    return _saved(bert(folder / "base"), folder, torch.nn.Identity())


def bert_tanh(folder: Path) -> Path:
    """The same with another activation."""
    return _saved(bert(folder / "base"), folder, torch.nn.Tanh())


def roberta(folder: Path) -> Path:
    """RoBERTa with one label: no segments, and positions from the padding token's on."""
    return _write(
        folder,
        AutoModelForSequenceClassification,
        model_type="roberta",
        num_labels=1,
        pad_token_id=1,
        max_position_embeddings=132,
    )


def old_activation(folder: Path) -> Path:
    """BERT whose config names the activation as versions before 4 did."""
    return _write(
        folder,
        AutoModelForSequenceClassification,
        model_type="bert",
        num_labels=1,
        sbert_ce_default_activation_function="torch.nn.modules.linear.Identity",
    )


def decoder(folder: Path) -> Path:
    """Qwen3-Reranker's form: a decoder, a template with both roles, and the logits of yes and no."""
    base = _write(
        folder / "base",
        AutoModelForCausalLM,
        template=TEMPLATE,
        model_type="qwen3",
        num_key_value_heads=2,
        head_dim=16,
    )
    return _saved(base, folder, torch.nn.Sigmoid())


FORMS: tuple[Callable[[Path], Path], ...] = (
    bert,
    bert_identity,
    bert_tanh,
    old_activation,
    roberta,
    decoder,
)
"""The forms that are served."""


def _write(folder: Path, kind: Any, template: str | None = None, **fields: Any) -> Path:
    torch.manual_seed(5)
    model = kind.from_config(AutoConfig.for_model(**{**_SHAPE, **fields}))
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim > 1:
                parameter.normal_(0.0, 0.2)  # wide enough to tell texts apart
    model.save_pretrained(folder)
    _tokenizer(template).save_pretrained(folder)
    return folder


def _tokenizer(template: str | None) -> PreTrainedTokenizerFast:
    """One token for each byte, one that closes a text, and the words of an answer."""
    backend = tokenizers.Tokenizer.from_str(bytes_tokenizer()._backend.to_str())
    backend.add_tokens(["yes", "no"])
    if template is None:
        end = backend.token_to_id(END)
        backend.post_processor = TemplateProcessing(
            single=f"{END} $A {END}", pair=f"{END} $A {END} $B:1 {END}:1", special_tokens=[(END, end)]
        )
    made = PreTrainedTokenizerFast(
        tokenizer_object=backend,
        pad_token=END,
        eos_token=END,
        model_max_length=128,
        model_input_names=["input_ids", "token_type_ids", "attention_mask"],
    )
    made.chat_template = template
    return made


def _saved(base: Path, folder: Path, activation: torch.nn.Module) -> Path:
    model = CrossEncoder(str(base), device="cpu", activation_fn=activation)
    model.save_pretrained(str(folder))
    return folder
