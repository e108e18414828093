"""A compiled grammar, and one choice's place in it."""

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from llguidance import LLMatcher

from inferloom_worker.constrain.closing import Way
from inferloom_worker.constrain.vocabulary import Vocabulary
from inferloom_worker.engine.constraint import WORD, ConstraintError, Mask, PortableConstraint

MOST_FOUND_S = 0.25
"""Processor time of a choice's masks, but for the first, after which what was found for them is let go. It
would grow for as long as the choice goes on: for an expression of 40 characters by 200 MiB in 2,500 tokens.
To go by as many tokens anew takes a millisecond; but the masks that follow find again what they need."""
FEWEST_TOKENS = 64
"""Until as many have come since the last time, or the beginning, it takes ``DEAR`` times as much, or ``DEAR``
times what the first mask since then took: where masks take long, so does finding it again."""
DEAR = 4

log = logging.getLogger(__name__)


def mask_of(tokens: frozenset[int], width: int) -> Mask:
    """The mask that has just these tokens."""
    mask = np.zeros(-(-width // WORD), np.int32)
    for token in tokens:
        mask[token // WORD] |= np.array(1 << token % WORD, np.uint32).astype(np.int32)
    return mask


@dataclass(frozen=True, slots=True)
class Ends:
    """The tokens that may end a choice, beside the grammar: as masks."""

    own: Mask
    """The model's."""
    asked: Mask | None = None
    """Other tokens with which the caller ends it, where the grammar lets it end. None: there are none."""
    ignored: bool = False
    """Whether the model's are to come only where nothing else may."""


@dataclass(frozen=True, slots=True)
class Beginning:
    """A grammar at its beginning. Shared by threads; nobody moves it."""

    start: LLMatcher
    forced: tuple[int, ...] = ()
    """The tokens that come first whatever the model says."""
    bytes: int = 0
    """Memory that a copy of it takes, as far as that is known."""

    @classmethod
    def of(cls, start: LLMatcher, vocabulary: Vocabulary, size: int) -> "Beginning":
        """That of a compiled grammar."""
        forced = start.deep_copy().compute_ff_tokens() if vocabulary.canonical else ()
        return cls(start, tuple(forced), size)


class CompiledGrammar:
    """A :class:`~inferloom_worker.constrain.grammar.GrammarConstraint`.

    Args:
        beginning: The grammar.
        vocabulary: What it was compiled for.
        ends: What may end a choice.
        portable: The same as text.
        notes: What of it is not enforced as meant.
        way: Makes what knows how a choice ends in time. None: it may be cut anywhere.
    """

    def __init__(
        self,
        beginning: Beginning,
        vocabulary: Vocabulary,
        ends: Ends,
        portable: PortableConstraint,
        notes: Sequence[str] = (),
        way: Callable[[], Way] | None = None,
    ) -> None:
        self._beginning = beginning
        self._vocabulary = vocabulary
        self._ends = ends
        self.portable = portable
        self.notes = notes
        self._way = way

    @property
    def bytes(self) -> int:
        return self._beginning.bytes

    def matcher(self) -> "GrammarMatcher":
        way = None if self._way is None else self._way()
        return GrammarMatcher(self._beginning, self._vocabulary, self._ends, way)


class GrammarMatcher:
    """A :class:`~inferloom_worker.engine.constraint.Matcher` of a grammar.

    Where the grammar leaves one text only, and it is known which tokens that becomes, these are forced: a run
    is worked out at its first token and stays, so that it is the same however many are computed at once. It
    holds no more than the grammar does until its first mask is filled: choices that wait take no memory.
    """

    __slots__ = (
        *("_beginning", "_ends", "_first_s", "_moved", "_run", "_scratch", "_spent_s", "_started", "_tokens"),
        *("_vocabulary", "_way", "_went_at"),
    )

    def __init__(
        self, beginning: Beginning, vocabulary: Vocabulary, ends: Ends, way: Way | None = None
    ) -> None:
        self._beginning = beginning
        self._moved: LLMatcher | None = None
        """Where the choice is. None: at the beginning, without a copy of its own."""
        self._vocabulary = vocabulary
        self._ends = ends
        self._way = way
        self._first_s = 0.0
        """What the first mask took since it went its way from the beginning, and what those behind it did."""
        self._spent_s = 0.0
        self._went_at = 0
        """How many tokens it went by then."""
        self._tokens: list[int] = []
        """Those that were accepted."""
        self._run: Sequence[int] = beginning.forced
        """The last run that was worked out, and the place of its first token; none: -1."""
        self._started = 0
        size = -(-vocabulary.tokens.vocab_size // WORD)
        self._scratch = np.empty(size, np.int32) if size != len(ends.own) else None

    @property
    def _inner(self) -> LLMatcher:
        if self._moved is None:
            self._moved = self._beginning.start.deep_copy()
        return self._moved

    @property
    def ended(self) -> bool:
        here = self._beginning.start if self._moved is None else self._moved
        return bool(here.is_stopped())

    def fill(self, mask: Mask) -> bool:
        recent = len(self._tokens) - self._went_at < FEWEST_TOKENS
        if self._spent_s > (DEAR * max(MOST_FOUND_S, self._first_s) if recent else MOST_FOUND_S):
            self._go_anew()
        inner = self._inner  # made here, where nobody else waits for it
        if self.ended:
            self._check()
            mask[:] = 0
            return False
        if run := self.forced():
            mask[:] = mask_of(frozenset(run[:1]), self._vocabulary.width)
            return True
        way = self._way
        if way is not None and not way.ends(inner, self._tokens):
            way = None
        if way is not None and inner.is_accepting():
            if way.answers:
                mask[:] = 0
                return False
            way = None
        into = mask if self._scratch is None else self._scratch
        began = time.thread_time()
        inner.unsafe_compute_mask_ptr(into.ctypes.data, into.nbytes)
        took = time.thread_time() - began
        if self._first_s:
            self._spent_s += took
        else:
            self._first_s = took
        self._check()
        if way is not None:
            into[:] = way.next(inner, self._tokens, into)
        if into is not mask:
            mask[:] = into[: len(mask)]
        if (phantom := self._vocabulary.phantom) is not None and phantom // WORD < len(mask):
            mask[phantom // WORD] &= ~mask_of(frozenset((phantom % WORD,)), WORD)[0]
        if not (mask & ~self._ends.own).any():
            if mask.any() or inner.is_accepting():
                mask[:] = 0
                return False
            return True  # a dead end
        if self._ends.ignored:
            mask &= ~self._ends.own
        if self._ends.asked is not None and inner.is_accepting():
            mask |= self._ends.asked
        return True

    def allowed(self, tokens: Sequence[int]) -> int:
        run = self.forced()
        same = 0
        while same < min(len(run), len(tokens)) and run[same] == tokens[same]:
            same += 1
        if same < len(run):
            return same
        return int(self._inner.validate_tokens(list(tokens)))

    def forced(self) -> Sequence[int]:
        if not self._vocabulary.canonical or self.ended:
            return ()
        if self._started < 0 or len(self._tokens) >= self._started + max(len(self._run), 1):
            self._run = tuple(self._inner.compute_ff_tokens())
            self._started = len(self._tokens)
        return self._run[len(self._tokens) - self._started :]

    def accept(self, token: int) -> None:
        self._inner.consume_token(token)
        self._check()
        self._tokens.append(token)

    def replay(self, tokens: Sequence[int]) -> None:
        for token in tokens:
            # Forced runs are fixed where they begin, and ways are looked for where nothing is forced.
            if not (self.ended or self.forced()) and self._way is not None:
                self._way.ends(self._inner, self._tokens)
            self.accept(token)

    def rollback(self, count: int) -> None:
        del self._tokens[len(self._tokens) - count :]
        if self._way is not None:
            self._way.rollback(len(self._tokens))
        if self._inner.is_error():
            self._go_anew()  # it stays in error
        elif count:
            self._inner.rollback(count)
        self._check()
        if self._started > len(self._tokens):
            self._started = -1

    def _go_anew(self) -> None:
        """Go by the same tokens with another copy, which has nothing but what these need."""
        self._moved = self._beginning.start.deep_copy()
        self._moved.consume_tokens(self._tokens)
        self._spent_s = self._first_s = 0.0
        self._went_at = len(self._tokens)

    def _check(self) -> None:
        if self._inner.is_error():
            raise ConstraintError(_told(self._inner))


def _told(matcher: LLMatcher) -> str:
    """Why a grammar cannot be followed."""
    reason = str(matcher.stop_reason())
    log.info("a grammar failed: %s: %s", reason, matcher.get_error()[:200])
    if reason in ("ParserTooComplex", "LexerTooComplex"):
        return "The grammar is too complex at this place."
    return "The grammar cannot be followed here."
