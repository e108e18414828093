"""From a grammar to a constraint for one model's tokens, bounded in time and memory."""

import threading
from collections import OrderedDict
from dataclasses import dataclass

import numpy as np
from llguidance import LLMatcher, LLParserLimits

from inferloom_mesh.errors import invalid
from inferloom_worker.constrain.grammar import Grammar, Kind
from inferloom_worker.constrain.matcher import CompiledGrammar, Ends, mask_of
from inferloom_worker.constrain.refusal import why_refused
from inferloom_worker.constrain.source import source
from inferloom_worker.constrain.vocabulary import Vocabulary, vocabulary
from inferloom_worker.engine.constraint import WORD
from inferloom_worker.text.tokenizer import Tokenizer

MOST_KEPT = 128
"""Grammars whose compiled form is kept for the next request."""


def limits() -> LLParserLimits:
    """What one grammar may take, when it is compiled and at each token."""
    return LLParserLimits(verbose_errors=False)


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

    def _compiled(self, grammar: Grammar, known: Vocabulary) -> _Kept:
        key = grammar.kind, grammar.text
        with self._lock:
            if (kept := self._kept.get(key)) is not None:
                self._kept.move_to_end(key)
                return kept
        asked = source(grammar)
        start = LLMatcher(known.tokens, asked.text, log_level=0, limits=limits())
        if not start.is_error():
            # The first mask is computed here, and not on the engine's way: it builds what later ones need.
            mask = np.empty(-(-known.tokens.vocab_size // WORD), np.int32)
            start.unsafe_compute_mask_ptr(mask.ctypes.data, mask.nbytes)
        if start.is_error():
            raise invalid(grammar.param, why_refused(grammar.param, start.get_error()))
        kept = _Kept(start, asked.notes)
        with self._lock:
            self._kept[key] = kept
            while len(self._kept) > MOST_KEPT:
                self._kept.popitem(last=False)
        return kept
