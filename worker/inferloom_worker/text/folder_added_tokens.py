"""Tokens that a folder's other files add to its ``tokenizer.json``.

Read as transformers reads them: ``added_tokens_decoder`` of ``tokenizer_config.json``, or where there is none
``special_tokens_map.json`` and ``added_tokens.json``, and in any case the special tokens that have names.
"""

import logging
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import tokenizers
from tokenizers import AddedToken

from inferloom_worker.sourcing.json_files import read_object

NAMED = ("bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token")
_EXTRA = ("extra_special_tokens", "additional_special_tokens")
_FLAGS = ("lstrip", "rstrip", "normalized", "single_word", "special")

log = logging.getLogger(__name__)


def add_tokens(backend: tokenizers.Tokenizer, folder: Path, config: Mapping[str, Any]) -> None:
    """Add them to ``backend``; ``config`` is ``tokenizer_config.json``.

    Raises:
        ValueError: A file is damaged.
    """
    listed = config.get("added_tokens_decoder")
    if listed is None:
        config = {**config, **read_object(folder / "special_tokens_map.json")}
    named = dict(_named(config))
    wanted = _listed(folder, listed) if listed is not None else _legacy(folder, named)
    there = {str(token.content): repr(token) for token in backend.get_added_tokens_decoder().values()}
    tokens = [token for _, token in sorted(wanted.items()) if there.get(token.content) != repr(token)]
    known = there.keys() | {token.content for token in wanted.values()}
    tokens += [token for text, token in named.items() if text not in known]
    for token in tokens:
        if token.content in named:
            token.special = True
    backend.add_tokens(tokens)
    for i, token in wanted.items():
        if (got := backend.token_to_id(token.content)) != i:
            # As in transformers: the vocabulary counts, and what is new to it comes after it.
            log.warning("%s says that %r is token %d, and it is %s", folder.name, token.content, i, got)


def content(token: Any) -> str:
    """The text of a token as the files write one: a text, or an object with it."""
    return str(token["content"]) if isinstance(token, dict) else str(token)


def _named(config: Mapping[str, Any]) -> Iterator[tuple[str, AddedToken]]:
    """Special tokens by text: those of the usual names, those of the model's own names, and those without."""
    own = [
        key for key in config if key.endswith("_token") and key not in NAMED and isinstance(config[key], str)
    ]
    tokens = [config[key] for key in (*NAMED, *own) if config.get(key)]
    extra = next((config[key] for key in _EXTRA if config.get(key)), ())
    for token in (*tokens, *(extra.values() if isinstance(extra, dict) else extra)):
        flags = {key: token[key] for key in _FLAGS if key in token} if isinstance(token, dict) else {}
        yield content(token), AddedToken(content(token), **{**flags, "special": True})


def _listed(folder: Path, listed: Any) -> dict[int, AddedToken]:
    try:
        return {
            int(i): AddedToken(token["content"], **{key: token[key] for key in _FLAGS if key in token})
            for i, token in listed.items()
        }
    except (AttributeError, KeyError, TypeError, ValueError) as failure:
        raise ValueError(
            f"{folder.name}/tokenizer_config.json has an added_tokens_decoder of another form: {failure!r}"
        ) from failure


def _legacy(folder: Path, named: Mapping[str, AddedToken]) -> dict[int, AddedToken]:
    given = read_object(folder / "added_tokens.json")
    if not all(isinstance(i, int) for i in given.values()):
        raise ValueError(f"{folder.name}/added_tokens.json does not give tokens their ids")
    return {
        i: AddedToken(text, special=text in named, normalized=text not in named) for text, i in given.items()
    }
