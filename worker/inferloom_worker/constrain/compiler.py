"""From a grammar to a constraint for one model's tokens, bounded in time and memory."""

import threading
from collections import OrderedDict
from dataclasses import dataclass
from functools import partial

from llguidance import LLMatcher

from inferloom_mesh.errors import invalid
from inferloom_worker.constrain.closing import Closers, Way
from inferloom_worker.constrain.grammar import Ending, Grammar, Kind
from inferloom_worker.constrain.matcher import CompiledGrammar, Ends, mask_of
from inferloom_worker.constrain.refusal import why_refused
from inferloom_worker.constrain.source import source
from inferloom_worker.constrain.trial import attempt
from inferloom_worker.constrain.trials import Trials, Verdict
from inferloom_worker.constrain.vocabulary import Vocabulary, vocabulary
from inferloom_worker.engine.constraint import PortableConstraint
from inferloom_worker.text.tokenizer import Tokenizer

MOST_KEPT = 128
"""Grammars whose compiled form is kept for the next request."""

MOST_KEPT_BYTES = 256 * 2**20
"""Memory that they may take together, as far as it is known when they are compiled."""

_BYTES_PER_CHARACTER = 512
"""What a grammar that nobody measured is taken for: about what schemas take."""

_PLAIN_CHARACTERS = 4096
_WORK = ("pattern", "patternProperties", "allOf", "oneOf", "multipleOf")
"""Keywords that can make much of a small schema."""


@dataclass(frozen=True, slots=True)
class _Kept:
    start: LLMatcher
    text: str
    notes: tuple[str, ...]
    bytes: int


class GrammarCompiler:
    """The :class:`~inferloom_worker.constrain.grammar.Grammars` of one model. It keeps the last ones.

    Args:
        tokenizer: The model's.
        width: Its logits.
        tried: Whether all grammars were compiled elsewhere before, so that they are known to be harmless.
    """

    def __init__(self, tokenizer: Tokenizer, width: int, *, tried: bool = False) -> None:
        self._tokenizer = tokenizer
        self._width = width
        self._harmless = tried
        self._lock = threading.Lock()
        self._vocabulary: Vocabulary | None = None
        self._trials: Trials | None = None
        self._closers: Closers | None = None
        self._kept: OrderedDict[tuple[Kind, str], _Kept] = OrderedDict()

    def compile(
        self,
        grammar: Grammar,
        *,
        stops: frozenset[int] = frozenset(),
        ignores_ends: bool = False,
        ending: Ending | None = None,
    ) -> CompiledGrammar:
        known = self._known()
        kept = self._compiled(grammar, known)
        others = stops & self._tokenizer.special_ids - known.ends
        ends = Ends(
            own=mask_of(known.ends, known.width),
            asked=mask_of(others, known.width) if others else None,
            ignored=ignores_ends,
        )
        way = None if ending is None else partial(Way, self._closing(known), ending, kept.start)
        portable = PortableConstraint(kept.text, tuple(sorted(stops)), ignores_ends)
        return CompiledGrammar(kept.start, known, ends, portable, kept.notes, way)

    def _closing(self, known: Vocabulary) -> Closers:
        """The tokens that end what is open, found out when they are first asked for."""
        with self._lock:
            if self._closers is None:
                size = min(known.tokens.vocab_size, self._tokenizer.vocab_size)
                hidden = known.tokens.is_special_token
                spelled = [b"" if hidden(i) else self._tokenizer.token_bytes(i) for i in range(size)]
                self._closers = Closers(known.tokens, spelled)
            return self._closers

    def _known(self) -> Vocabulary:
        """The vocabulary, made when it is first asked for: most models are never constrained."""
        with self._lock:
            if self._vocabulary is None:
                self._vocabulary = vocabulary(self._tokenizer, self._width)
            return self._vocabulary

    def _attempt(self, kind: Kind, text: str, known: Vocabulary) -> tuple[LLMatcher | None, Verdict]:
        """A grammar at its beginning, or why it is refused."""
        verdict = Verdict("") if self._harmless or _is_plain(kind, text) else self._tried(known).verdict(text)
        if verdict.refusal:
            return None, verdict
        start, why = attempt(known.tokens, text)
        return (None if why else start), Verdict(why, max(verdict.bytes, len(text) * _BYTES_PER_CHARACTER))

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
        start, verdict = self._attempt(grammar.kind, asked.text, known)
        # Closed, it may have nothing left.
        if verdict.refusal and (open_ := source(grammar)).text != asked.text:
            asked = open_
            start, verdict = self._attempt(grammar.kind, asked.text, known)
        if start is None:
            raise invalid(grammar.param, why_refused(grammar.param, verdict.refusal))
        kept = _Kept(start, asked.text, asked.notes, verdict.bytes)
        with self._lock:
            self._kept[key] = kept
            held = sum(each.bytes for each in self._kept.values())
            while len(self._kept) > MOST_KEPT or held > MOST_KEPT_BYTES:
                held -= self._kept.popitem(last=False)[1].bytes
        return kept


def _is_plain(kind: Kind, text: str) -> bool:
    """Whether a grammar surely compiles in little time: a small schema without anything that multiplies."""
    if kind not in (Kind.JSON_SCHEMA, Kind.CHOICE):
        return False
    return len(text) <= _PLAIN_CHARACTERS and not any(f'"{word}"' in text for word in _WORK)
