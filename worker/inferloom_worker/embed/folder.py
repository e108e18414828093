"""What an encoder's folder says, for BERT in the forms that the kernels compute.

The files are those of sentence-transformers, and mean here what they mean there. Whatever else may change a
vector is refused, so that its own modules compute it.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from inferloom_worker.embed.bert import BertShape, read_shape
from inferloom_worker.embed.bert_tokenizer import load_bert_tokenizer
from inferloom_worker.embed.files import (
    SENTENCE,
    SETTINGS,
    UnknownFormError,
    default_prompt,
    is_matryoshka,
    most_tokens,
    refuse_other_files,
    settle,
    usual_form,
    whole,
)
from inferloom_worker.embed.modules import Modules, read_modules
from inferloom_worker.sourcing.json_files import read_object
from inferloom_worker.text.tokenizer import Tokenizer

_TEXT = {"text": {"method": "forward", "method_output_name": "last_hidden_state"}}


@dataclass(frozen=True, slots=True, kw_only=True)
class EncoderFolder:
    """A BERT encoder and what is done before and after it."""

    shape: BertShape
    tokenizer: Tokenizer
    prompt: str
    """Put before every text."""
    max_tokens: int
    """Of one text, its special tokens included."""
    modules: Modules
    dimensions: int
    """Of a finished vector."""
    shortens: bool


def read_folder(folder: Path) -> EncoderFolder:
    """Read all files but the weights.

    Raises:
        UnknownFormError: It is something else, or there is something in it that is not known here.
    """
    with usual_form():
        return _read(folder)


def _read(folder: Path) -> EncoderFolder:
    refuse_other_files(folder)
    shape = read_shape(folder)
    # Without modules, vectors are means, and no other file of sentence-transformers is read.
    modules, sentence, vectors = Modules(), {}, {}
    if (folder / "modules.json").is_file():
        modules = read_modules(folder, shape.hidden)
        sentence, vectors = read_object(folder / SENTENCE), read_object(folder / SETTINGS)
    tokenizer, most = load_bert_tokenizer(folder, lowers=_lowers(sentence))
    if tokenizer.vocab_size > shape.vocab:
        raise UnknownFormError("there are tokens that have no embedding")
    dimensions = shape.hidden
    if vectors.get("truncate_dim") is not None:
        dimensions = min(dimensions, whole(SETTINGS, vectors, "truncate_dim"))
    return EncoderFolder(
        shape=shape,
        tokenizer=tokenizer,
        prompt=_prompt(vectors),
        max_tokens=most_tokens(sentence, most, shape.positions),
        modules=modules,
        dimensions=dimensions,
        shortens=is_matryoshka(folder),
    )


def _lowers(sentence: dict[str, Any]) -> bool:
    """Whether texts are put in lower case first."""
    fixed = {
        "transformer_task": ("feature-extraction",),
        "modality_config": (_TEXT,),
        "module_output_name": ("token_embeddings",),
        "do_lower_case": (None, False, True),
    }
    settle(SENTENCE, sentence, free=("max_seq_length",), fixed=fixed)
    return bool(sentence.get("do_lower_case"))


def _prompt(vectors: dict[str, Any]) -> str:
    free = (
        *("__version__", "default_prompt_name", "is_matryoshka", "matryoshka_dimensions", "prompts"),
        *("similarity_fn_name", "truncate_dim"),
    )
    settle(SETTINGS, vectors, free=free, fixed={"model_type": ("SentenceTransformer",)})
    return default_prompt(vectors)
