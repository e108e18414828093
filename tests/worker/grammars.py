"""Asking a grammar what it accepts, byte by byte, without a model."""

import json
from functools import cache
from typing import Any

import numpy as np
from llguidance import LLMatcher, LLTokenizer

from inferloom_mesh.errors import InferloomError, invalid
from inferloom_worker.constrain.grammar import Grammar, Kind
from inferloom_worker.constrain.limits import limits
from inferloom_worker.constrain.refusal import why_refused
from inferloom_worker.constrain.source import source
from inferloom_worker.engine.constraint import WORD, Matcher


@cache
def by_bytes() -> LLTokenizer:
    """A vocabulary of the single bytes."""
    return LLTokenizer("byte")


def matcher(grammar: Grammar) -> LLMatcher:
    """A grammar at its beginning. Raises InferloomError where it does not compile."""
    found = LLMatcher(by_bytes(), source(grammar).text, log_level=0, limits=limits())
    if found.is_error():
        raise invalid(grammar.param, why_refused(grammar.param, found.get_error()))
    return found


def accepts(grammar: Grammar, text: str) -> bool:
    """Whether a grammar derives a text."""
    return derives(matcher(grammar), text)


def derives(start: LLMatcher, text: str) -> bool:
    """Whether a grammar, given at its beginning, derives a text."""
    data = list(text.encode())
    found = start.deep_copy()
    taken = found.try_consume_tokens(data)
    assert not found.is_error(), found.get_error()
    return bool(taken == len(data) and found.is_accepting())


def schema(value: Any) -> Grammar:
    """The grammar of a JSON Schema."""
    return Grammar(json.dumps(value), "schema", Kind.JSON_SCHEMA)


def conforms(schema_: Any, value: Any) -> bool:
    """Whether the grammar of a schema derives a value, written compactly."""
    return accepts(schema(schema_), compact(value))


def compact(value: Any) -> str:
    """A value without white space."""
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False)


def refusal(grammar: Grammar) -> str | None:
    """Why a grammar is refused; None: it is not."""
    try:
        matcher(grammar)
    except InferloomError as error:
        return error.message
    return None


def allowed_by(matcher: Matcher, width: int) -> set[int] | None:
    """The tokens that may come next; None: nothing may."""
    mask = np.empty(-(-width // WORD), np.int32)
    if not matcher.fill(mask):
        return None
    return set(np.unpackbits(mask.view(np.uint8), bitorder="little").nonzero()[0].tolist())
