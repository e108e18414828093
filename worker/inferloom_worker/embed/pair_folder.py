"""What a cross-encoder's folder says, for BERT with one label in the forms that the kernels compute.

As in :mod:`~inferloom_worker.embed.folder`, whatever may change a score and is not known here is refused.
"""

import json
from dataclasses import dataclass
from pathlib import Path

from inferloom_worker.embed.activation import activation_name
from inferloom_worker.embed.bert import BertShape, read_shape
from inferloom_worker.embed.bert_tokenizer import load_bert_tokenizer
from inferloom_worker.embed.files import (
    SENTENCE,
    SETTINGS,
    UnknownFormError,
    default_prompt,
    most_tokens,
    refuse_other_files,
    settle,
    usual_form,
)
from inferloom_worker.sourcing.json_files import read_object
from inferloom_worker.text.tokenizer import Tokenizer

_MARKS = ("sentence_transformers", "sbert_ce_default_activation_function")
"""Where ``config.json`` names the activation, in files from before version 6."""
_TEXT = {"text": {"method": "forward", "method_output_name": "logits"}}
_TRANSFORMERS = (
    "sentence_transformers.base.modules.transformer.Transformer",
    "sentence_transformers.cross_encoder.modules.transformer.Transformer",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class PairFolder:
    """A BERT encoder that reads two texts together, and what is done before and after it."""

    shape: BertShape
    tokenizer: Tokenizer
    prompt: str
    """Put before every query."""
    max_tokens: int
    """Of both texts, special tokens included."""
    activation: str
    """Name of a class of ``torch.nn``."""


def read_pair_folder(folder: Path) -> PairFolder:
    """Read all files but the weights.

    Raises:
        UnknownFormError: It is something else, or there is something in it that is not known here.
    """
    with usual_form():
        return _read(folder)


def _read(folder: Path) -> PairFolder:
    refuse_other_files(folder)
    shape = read_shape(folder, elsewhere=_MARKS)
    config = read_object(folder / "config.json")
    if len(config["id2label"]) != 1:
        raise UnknownFormError("config.json has not one label")
    if isinstance(mark := config.get("sentence_transformers"), dict):
        settle("config.json's mark", mark, free=("activation_fn", "version"), fixed={})
    sentence, settings = read_object(folder / SENTENCE), read_object(folder / SETTINGS)
    if (folder / "modules.json").is_file():
        _check_modules(folder)
        if "transformer_task" not in sentence:
            raise UnknownFormError(f"{SENTENCE} has no task")
    elif sentence or settings:
        # Without it, sentence-transformers reads neither.
        raise UnknownFormError("there are files of sentence-transformers and no modules.json")
    fixed = {
        "transformer_task": ("sequence-classification",),
        "modality_config": (_TEXT,),
        "module_output_name": ("scores",),
        "do_lower_case": (None, False, True),
    }
    settle(SENTENCE, sentence, free=("max_seq_length",), fixed=fixed)
    free = ("__version__", "activation_fn", "default_prompt_name", "prompts")
    settle(SETTINGS, settings, free=free, fixed={"model_type": ("CrossEncoder",)})
    names = read_object(folder / "tokenizer_config.json").get("model_input_names")
    if names is not None and "token_type_ids" not in names:
        raise UnknownFormError("the model is not told which text a token is of")
    tokenizer, most = load_bert_tokenizer(folder, lowers=bool(sentence.get("do_lower_case")))
    if tokenizer.vocab_size > shape.vocab:
        raise UnknownFormError("there are tokens that have no embedding")
    if shape.token_types < 2:
        raise UnknownFormError("the second text has no embedding of its kind")
    return PairFolder(
        shape=shape,
        tokenizer=tokenizer,
        prompt=default_prompt(settings),
        max_tokens=most_tokens(sentence, most, shape.positions),
        activation=activation_name(folder),
    )


def _check_modules(folder: Path) -> None:
    modules = json.loads((folder / "modules.json").read_text(encoding="utf-8"))
    for module in modules:
        settle("modules.json", module, free=("idx", "name"), fixed={"path": ("",), "type": _TRANSFORMERS})
    if len(modules) != 1:
        raise UnknownFormError(f"modules.json has {len(modules)} modules")
