"""What an encoder's folder says, for BERT in the forms that the kernels compute.

The files are those of sentence-transformers, and mean here what they mean there. Whatever else may change a
vector is refused, so that its own modules compute it.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from inferloom_worker.embed.bert import BertShape, read_shape
from inferloom_worker.embed.bert_tokenizer import load_bert_tokenizer
from inferloom_worker.embed.files import UnknownFormError, is_matryoshka, settle, whole
from inferloom_worker.embed.modules import Modules, read_modules
from inferloom_worker.sourcing.json_files import read_object
from inferloom_worker.text.tokenizer import Tokenizer

_SENTENCE, _VECTORS = "sentence_bert_config.json", "config_sentence_transformers.json"
_TEXT = {"text": {"method": "forward", "method_output_name": "last_hidden_state"}}
_OTHER_FILES = (
    *("adapter_config.json", "added_tokens.json", "processor_config.json", "preprocessor_config.json"),
    *("chat_template.jinja", "chat_template.json", "additional_chat_templates"),
)
"""Files that would make it another model, or its input another one."""


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
    try:
        return _read(folder)
    except UnknownFormError:
        raise
    except (AttributeError, KeyError, TypeError, ValueError) as failure:
        raise UnknownFormError(f"a file is not in its usual form: {failure!r}") from failure


def _read(folder: Path) -> EncoderFolder:
    for name in (*_OTHER_FILES, *(f.name for f in folder.glob("sentence_*_config.json"))):
        if name != _SENTENCE and (folder / name).exists():
            raise UnknownFormError(f"{name} is there")
    shape = read_shape(folder)
    # Without modules, vectors are means, and no other file of sentence-transformers is read.
    modules, sentence, vectors = Modules(), {}, {}
    if (folder / "modules.json").is_file():
        modules = read_modules(folder, shape.hidden)
        sentence, vectors = read_object(folder / _SENTENCE), read_object(folder / _VECTORS)
    tokenizer, most = load_bert_tokenizer(folder, lowers=_lowers(sentence))
    if tokenizer.vocab_size > shape.vocab:
        raise UnknownFormError("there are tokens that have no embedding")
    if sentence.get("max_seq_length") is not None:
        max_tokens = whole(_SENTENCE, sentence, "max_seq_length")
    else:
        max_tokens = min(most or shape.positions, shape.positions)
    if not 0 < max_tokens <= shape.positions:
        raise UnknownFormError(f"texts of {max_tokens} tokens have more than there are positions")
    dimensions = shape.hidden
    if vectors.get("truncate_dim") is not None:
        dimensions = min(dimensions, whole(_VECTORS, vectors, "truncate_dim"))
    return EncoderFolder(
        shape=shape,
        tokenizer=tokenizer,
        prompt=_prompt(vectors),
        max_tokens=max_tokens,
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
    settle(_SENTENCE, sentence, free=("max_seq_length",), fixed=fixed)
    return bool(sentence.get("do_lower_case"))


def _prompt(vectors: dict[str, Any]) -> str:
    """What is put before every text: the prompt that is the default, if there is one."""
    free = (
        *("__version__", "default_prompt_name", "is_matryoshka", "matryoshka_dimensions", "prompts"),
        *("similarity_fn_name", "truncate_dim"),
    )
    settle(_VECTORS, vectors, free=free, fixed={"model_type": ("SentenceTransformer",)})
    name = vectors.get("default_prompt_name")
    if name is None:
        return ""
    prompt = vectors["prompts"][name]
    if not isinstance(prompt, str):
        raise UnknownFormError(f"{_VECTORS} has no text for the prompt {name}")
    return prompt
