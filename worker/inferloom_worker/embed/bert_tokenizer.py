"""A BERT folder's tokenizer, where ``tokenizer.json`` says what transformers would make of the folder.

For ``BertTokenizer``, transformers takes only the vocabulary and the added tokens from that file and makes
the rest anew from ``tokenizer_config.json``; both must agree here.
"""

from pathlib import Path
from typing import Any

import tokenizers
from tokenizers.normalizers import BertNormalizer, Lowercase, Sequence

from inferloom_worker.embed.files import UnknownFormError, settle
from inferloom_worker.sourcing.json_files import read_object
from inferloom_worker.text.tokenizer import Tokenizer

_FILE = "tokenizer_config.json"
_CLASSES = {"BertTokenizer": True, "PreTrainedTokenizer": False, "TokenizersBackend": False}
"""Tokenizer classes, without ``Fast``, and whether they are made anew."""
_BERT = {
    "unk_token": "[UNK]",
    "sep_token": "[SEP]",
    "pad_token": "[PAD]",
    "cls_token": "[CLS]",
    "mask_token": "[MASK]",
}
_NAMED = (*_BERT, "bos_token", "eos_token")
_PLAIN = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True}
"""A special token as transformers adds it."""
_FREE = (
    *(*_NAMED, "added_tokens_decoder", "model_max_length", "tokenizer_class"),
    *("do_lower_case", "strip_accents", "tokenize_chinese_chars"),
    # Padding and shortening are done elsewhere, and these say nothing about one text's tokens.
    *("_name_or_path", "backend", "clean_up_tokenization_spaces", "do_basic_tokenize", "is_local"),
    *("local_files_only", "max_length", "model_input_names", "name_or_path", "never_split"),
    *("pad_to_multiple_of", "pad_token_type_id", "padding_side", "special_tokens_map_file", "stride"),
    *("tokenizer_file", "truncation_side", "truncation_strategy", "use_fast"),
)
_FIXED: dict[str, tuple[Any, ...]] = {
    "additional_special_tokens": (None, []),
    "extra_special_tokens": (None, [], {}),
}


def load_bert_tokenizer(folder: Path, *, lowers: bool) -> tuple[Tokenizer, int | None]:
    """The tokenizer and the most tokens that it says a text may have.

    Args:
        folder: The model's.
        lowers: Whether texts are put in lower case before anything else is done with them.

    Raises:
        UnknownFormError: transformers may make something else of the folder's files.
    """
    config, named_tokens = read_object(folder / _FILE), read_object(folder / "special_tokens_map.json")
    settle(_FILE, config, free=_FREE, fixed=_FIXED)
    settle("special_tokens_map.json", named_tokens, free=_NAMED, fixed=_FIXED)
    file = folder / "tokenizer.json"
    spec = read_object(file)
    if not spec:
        raise UnknownFormError("there is no tokenizer.json")
    kind = str(config.get("tokenizer_class") or "BertTokenizer").removesuffix("Fast")
    if kind not in _CLASSES:
        raise UnknownFormError(f"{_FILE} has tokenizer_class: {kind}")
    anew = _CLASSES[kind]
    names = _names(config, named_tokens, _BERT if anew else {})
    added = {token["content"]: token for token in spec.get("added_tokens") or ()}
    for name in names.values():
        if {**added.get(name, {}), **_PLAIN} != added.get(name):
            raise UnknownFormError(f"tokenizer.json does not have {name} as a plain special token")
    listed = config.get("added_tokens_decoder")
    if listed is not None and {int(i): token for i, token in listed.items()} != {
        token["id"]: {key: value for key, value in token.items() if key != "id"} for token in added.values()
    }:
        raise UnknownFormError(f"{_FILE} and tokenizer.json add other tokens")
    if anew:
        _check_made_anew(config, names, spec)
    try:
        backend = tokenizers.Tokenizer.from_file(str(file))
    except Exception as failure:  # the library raises bare Exception for a file that it cannot read
        raise UnknownFormError("tokenizer.json cannot be read") from failure
    if lowers:
        if not isinstance(backend.normalizer, BertNormalizer):
            raise UnknownFormError("texts are put in lower case before another normalizer than BERT's")
        backend.normalizer = Sequence([Lowercase(), backend.normalizer])
    most = config.get("model_max_length")
    return Tokenizer(backend), None if most is None else int(most)


def _names(config: dict[str, Any], more: dict[str, Any], usual: dict[str, str]) -> dict[str, str]:
    """The named special tokens."""
    names = dict(usual)
    for key in _NAMED:
        given = {_content(source[key]) for source in (config, more) if source.get(key) is not None}
        if len(given) > 1:
            raise UnknownFormError(f"{key} is one of {sorted(given)}")
        names.update((key, name) for name in given)
    return names


def _content(token: Any) -> str:
    return str(token["content"]) if isinstance(token, dict) else str(token)


def _check_made_anew(config: dict[str, Any], names: dict[str, str], spec: dict[str, Any]) -> None:
    """Compare ``tokenizer.json`` with what ``BertTokenizer`` makes."""
    model = dict(spec["model"])
    vocab = model.pop("vocab")
    cls, sep = names["cls_token"], names["sep_token"]
    start, end, second_end = _special(cls, 0), _special(sep, 0), _special(sep, 1)
    first, second = ({"Sequence": {"id": part, "type_id": i}} for i, part in enumerate("AB"))
    made: dict[str, Any] = {
        "normalizer": {
            "type": "BertNormalizer",
            "clean_text": True,
            "handle_chinese_chars": config.get("tokenize_chinese_chars", True),
            "strip_accents": config.get("strip_accents"),
            "lowercase": config.get("do_lower_case", True),
        },
        "pre_tokenizer": {"type": "BertPreTokenizer"},
        "post_processor": {
            "type": "TemplateProcessing",
            "single": [start, first, end],
            "pair": [start, first, end, second, second_end],
            "special_tokens": {t: {"id": t, "ids": [vocab.get(t)], "tokens": [t]} for t in (cls, sep)},
        },
        "decoder": {"type": "WordPiece", "prefix": "##", "cleanup": True},
    }
    for part, expected in made.items():
        if spec.get(part) != expected:
            raise UnknownFormError(f"tokenizer.json has another {part} than BertTokenizer")
    if model != {
        "type": "WordPiece",
        "unk_token": names["unk_token"],
        "continuing_subword_prefix": "##",
        "max_input_chars_per_word": 100,
    }:
        raise UnknownFormError("tokenizer.json has another model than BertTokenizer")
    if any(vocab.get(token["content"]) != token["id"] for token in spec["added_tokens"]):
        raise UnknownFormError("tokenizer.json adds tokens to the vocabulary")


def _special(token: str, kind: int) -> dict[str, Any]:
    return {"SpecialToken": {"id": token, "type_id": kind}}
