"""From a grammar to a constraint for one model's tokens, bounded in time and memory."""

import threading
from collections import OrderedDict
from dataclasses import dataclass

from llguidance import LLMatcher

from inferloom_mesh.errors import invalid
from inferloom_worker.constrain.grammar import Grammar, Kind
from inferloom_worker.constrain.matcher import CompiledGrammar, Ends, mask_of
from inferloom_worker.constrain.refusal import why_refused
from inferloom_worker.constrain.source import source
from inferloom_worker.constrain.trial import attempt
from inferloom_worker.constrain.trials import Trials
from inferloom_worker.constrain.vocabulary import Vocabulary, vocabulary
from inferloom_worker.text.tokenizer import Tokenizer

MOST_KEPT = 128
"""Grammars whose compiled form is kept for the next request."""


_PLAIN_CHARACTERS = 4096
_WORK = ("pattern", "patternProperties", "allOf", "oneOf", "multipleOf")
"""Keywords that can make much of a small schema."""


@dataclass(frozen=True, slots=True)
class _Kept:
    start: LLMatcher
    notes: tuple[str, ...]


class GrammarCompiler:
    """The :class:`~inferloom_worker.constrain.grammar.Grammars` of one model. It keeps the last ones.

    Args:
        tokenizer: The model's.
        width: Its logits.
    """

    def __init__(self, tokenizer: Tokenizer, width: int) -> None:
        self._tokenizer = tokenizer
        self._width = width
        self._lock = threading.Lock()
        self._vocabulary: Vocabulary | None = None
        self._trials: Trials | None = None
        self._kept: OrderedDict[tuple[Kind, str], _Kept] = OrderedDict()

    def compile(
        self, grammar: Grammar, *, stops: frozenset[int] = frozenset(), ignores_ends: bool = False
    ) -> CompiledGrammar:
        known = self._known()
        kept = self._compiled(grammar, known)
        others = stops & self._tokenizer.special_ids - known.ends
        ends = Ends(
            own=mask_of(known.ends, known.width),
            asked=mask_of(others, known.width) if others else None,
            ignored=ignores_ends,
        )
        return CompiledGrammar(kept.start, known, ends, kept.notes)

    def _known(self) -> Vocabulary:
        """The vocabulary, made when it is first asked for: most models are never constrained."""
        with self._lock:
            if self._vocabulary is None:
                self._vocabulary = vocabulary(self._tokenizer, self._width)
            return self._vocabulary

    def _attempt(self, kind: Kind, text: str, known: Vocabulary) -> tuple[LLMatcher | None, str]:
        """A grammar at its beginning, or why it is refused."""
        if not _is_plain(kind, text) and (why := self._tried(known).refusal(text)):
            return None, why
        start, why = attempt(known.tokens, text)
        return (None, why) if why else (start, "")

    def _tried(self, known: Vocabulary) -> Trials:
        with self._lock:
            if self._trials is None:
                self._trials = Trials(known.maker)
            return self._trials

    def _compiled(self, grammar: Grammar, known: Vocabulary) -> _Kept:
        key = grammar.kind, grammar.text
        with self._lock:
            if (kept := self._kept.get(key)) is not None:
                self._kept.move_to_end(key)
                return kept
        asked = source(grammar, closes=True)
        start, why = self._attempt(grammar.kind, asked.text, known)
        if why and (open_ := source(grammar)).text != asked.text:  # closed, it may have nothing left
            asked = open_
            start, why = self._attempt(grammar.kind, asked.text, known)
        if start is None:
            raise invalid(grammar.param, why_refused(grammar.param, why))
        kept = _Kept(start, asked.notes)
        with self._lock:
            self._kept[key] = kept
            while len(self._kept) > MOST_KEPT:
                self._kept.popitem(last=False)
        return kept


def _is_plain(kind: Kind, text: str) -> bool:
    """Whether a grammar surely compiles in little time: a small schema without anything that multiplies."""
    if kind not in (Kind.JSON_SCHEMA, Kind.CHOICE):
        return False
    return len(text) <= _PLAIN_CHARACTERS and not any(f'"{word}"' in text for word in _WORK)
