"""What a GGUF file says about its tokens, read as llama.cpp reads it (``src/llama-vocab.cpp`` there)."""

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from inferloom_worker.text.gguf_special import SPECIAL, TokenType, end_tokens
from inferloom_worker.text.gguf_splits import DEFAULT, SPLITS, Split
from inferloom_worker.weights.gguf import GgufFile

_PREFIX = "tokenizer.ggml."
_IDS = (
    *("bos", "eos", "eot", "eom", "unknown", "padding"),
    *("fim_pre", "fim_suf", "fim_mid", "fim_pad", "fim_rep", "fim_sep"),
)
_OLD_IDS = {"fim_pre": "prefix", "fim_suf": "suffix", "fim_mid": "middle"}
_EMBEDDING = ("bert", "whitespace", "mmbert")
"""Kinds, and names of ``pre``, of models that have vectors and no completions."""

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class GgufVocabulary:
    """A vocabulary of byte pairs, or of SentencePiece's kind of them."""

    tokens: list[str]
    """By id; no two are equal."""
    types: list[TokenType]
    ids: Mapping[str, int]
    """Named tokens: ``bos``, ``eos``, ``unknown``, ``padding`` ... The others are not there."""
    ends: frozenset[int]
    """Tokens that end a completion."""
    add_bos: bool
    add_eos: bool
    split: Split | None
    """Of byte pairs. None: SentencePiece's, which join what has the highest score."""
    merges: list[tuple[str, str]]
    """Of byte pairs, the first to be joined first."""
    scores: list[float]
    """Of SentencePiece's."""
    add_space_prefix: bool
    left_stripping: frozenset[int] = frozenset()
    """Tokens that take the spaces before them."""
    right_stripping: frozenset[int] = frozenset()
    """Tokens that take the spaces after them."""


def read_vocabulary(file: GgufFile) -> GgufVocabulary:
    """Read and check the keys under ``tokenizer.ggml.``.

    Raises:
        ValueError: There is no vocabulary, or one of a kind that is not known.
    """
    ggml = {k.removeprefix(_PREFIX): v for k, v in file.metadata.items() if k.startswith(_PREFIX)}
    name = file.path.name
    model = ggml.get("model")
    if model is None or not ggml.get("tokens"):
        raise ValueError(f"{name} holds no tokenizer")
    for kind in (model, ggml.get("pre")):
        if kind in _EMBEDDING:
            raise ValueError(
                f"{name} has a tokenizer of the kind {kind!r}, which embedding models have; "
                "they are served from folders of safetensors files"
            )
    if model not in ("llama", "gpt2", "gemma4"):
        raise ValueError(
            f"{name} has a tokenizer of the kind {model!r}, which is not supported; "
            "'llama', 'gpt2' and 'gemma4' are, and some models' folders of safetensors files"
        )
    tokens = _tokens(name, ggml)
    ids = {text: i for i, text in enumerate(tokens)}
    if len(ids) < len(tokens):
        twice = next(i for i, text in enumerate(tokens) if ids[text] != i)
        raise ValueError(f"{name} has the token {tokens[twice]!r} twice, as {twice} and {ids[tokens[twice]]}")
    split = None if model == "llama" else _split(name, "gemma4" if model == "gemma4" else ggml.get("pre"))
    named = _named(name, ggml, len(tokens), split is None)
    types = _types(name, ggml, len(tokens))
    ends = end_tokens(ids, types, named)
    add_bos = bool(ggml.get("add_bos_token", split is None or split.add_bos))
    if split is not None and split.spelled and split.add_bos:
        add_bos = True  # whatever the files of Gemma 4 say
    add_eos = bool(ggml.get("add_eos_token", False))
    for flag, key in ((add_bos, "bos"), (add_eos, "eos")):
        if flag and key not in named:
            raise ValueError(f"{name} asks for a {key} token around texts, and does not say which it is")
    left, right = _stripping(file, ggml, ids, types)
    return GgufVocabulary(
        tokens=tokens,
        types=types,
        ids=named,
        ends=ends,
        add_bos=add_bos,
        add_eos=add_eos,
        split=split,
        merges=[] if split is None else _merges(name, ggml),
        scores=_numbers(name, ggml, "scores", len(tokens)) if split is None else [],
        add_space_prefix=split is None and bool(ggml.get("add_space_prefix", True)),
        left_stripping=left,
        right_stripping=right,
    )


def _tokens(name: str, ggml: Mapping[str, Any]) -> list[str]:
    tokens = ggml["tokens"]
    if not isinstance(tokens, list) or not all(isinstance(text, str) for text in tokens):
        raise ValueError(f"{name} has a {_PREFIX}tokens that is no list of texts")
    return [text or f"[EMPTY_{i}]" for i, text in enumerate(tokens)]


def _types(name: str, ggml: Mapping[str, Any], count: int) -> list[TokenType]:
    known = {kind.value: kind for kind in TokenType}
    given = _numbers(name, ggml, "token_type", count, default=TokenType.NORMAL)
    return [known.get(value, TokenType.UNDEFINED) for value in given]


def _numbers(name: str, ggml: Mapping[str, Any], key: str, count: int, default: float = 0.0) -> list[Any]:
    given = ggml.get(key)
    if given is None:
        return [default] * count
    if not isinstance(given, list) or not all(isinstance(value, int | float) for value in given[:1]):
        raise ValueError(f"{name} has a {_PREFIX}{key} that is no list of numbers")
    if len(given) < count:
        raise ValueError(f"{name} has {count} tokens, and a {_PREFIX}{key} of {len(given)}")
    return given[:count]


def _split(name: str, pre: Any) -> Split:
    if pre is None or pre == "":
        log.warning("%s does not say how its tokenizer splits words: llama.cpp's default is taken", name)
        return DEFAULT
    split = SPLITS.get(pre) if isinstance(pre, str) else None
    if split is None:
        raise ValueError(
            f"{name} has a tokenizer that splits words in a way that is not known here: "
            f"{_PREFIX}pre is {str(pre)[:100]!r}"
        )
    return split


def _named(name: str, ggml: Mapping[str, Any], count: int, sentencepiece: bool) -> dict[str, int]:
    defaults = {"bos": 1, "eos": 2, "unknown": 0} if sentencepiece else {}
    named = {key: i for key, i in defaults.items() if i < count}
    for key in _IDS:
        given = ggml.get(f"{key}_token_id", ggml.get(f"{_OLD_IDS.get(key)}_token_id"))
        if isinstance(given, int) and 0 <= given < count:
            named[key] = given
        elif given is not None:
            log.warning("%s has no token %r, its %s%s_token_id", name, given, _PREFIX, key)
    return named


def _merges(name: str, ggml: Mapping[str, Any]) -> list[tuple[str, str]]:
    given = ggml.get("merges")
    if given is None and ggml.get("pre") == "kimi-k2":
        return []
    if not isinstance(given, list) or not all(isinstance(text, str) for text in given):
        raise ValueError(f"{name} has no {_PREFIX}merges")
    # The first space that is not the first character divides the two.
    cuts = [(text, text.find(" ", 1)) for text in given]
    return [(text[:cut], text[cut + 1 :]) for text, cut in cuts if cut > 0]


def _stripping(
    file: GgufFile, ggml: Mapping[str, Any], ids: Mapping[str, int], types: list[TokenType]
) -> tuple[frozenset[int], frozenset[int]]:
    """Tokens that take spaces beside them. No key says so: llama.cpp knows the models."""
    model = str(file.metadata.get("general.name", "")).lower()
    if "phi-3" in model or "phi3" in model:
        kept = {ids.get(text) for text in ("<unk>", "<s>", "<|endoftext|>")}
        return frozenset(), frozenset(i for i, t in enumerate(types) if t in SPECIAL and i not in kept)
    masks: tuple[str, ...] = ()
    if any(part in str(ggml.get("pre")) for part in ("jina-v2-de", "jina-v2-es", "jina-v2-code")):
        masks = ("<mask>",)
    elif "modern-bert" in model:
        masks = ("[MASK]",)
    return frozenset(ids[text] for text in masks if text in ids), frozenset()
