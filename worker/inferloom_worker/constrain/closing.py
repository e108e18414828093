"""Ending in time: the ways in which a text of JSON ends soonest, and when it has to take one.

A grammar says what may come next, not how far the end is. In JSON the end is near wherever one is: a string
may be closed, an object left once it has what it needs. So the shortest way is walked on a copy of the
matcher, which tells its length; when no more than that is left, only tokens of that way are allowed. What was
said until then stays as it is, and what comes conforms.
"""

from collections.abc import Iterator, Sequence

import numpy as np
from llguidance import LLMatcher, LLTokenizer

from inferloom_worker.constrain.grammar import Ending
from inferloom_worker.engine.constraint import WORD, Mask

SPARE = 12
"""Tokens that are kept besides the shortest way: the model may not take just that."""

_EARLY = 64
"""Tokens before the last at which it is looked for the first time, or half of all."""

_SPREAD = 16
"""Places over which it is looked for the first time by choices that began together and have as many tokens: a
look takes as long as many masks do, and all would wait for all of them in the same step."""

_LONGEST_WAY = 512
_TAIL = 24
"""Tokens in which a mark that has begun is looked for."""


class Closers:
    """The tokens of a vocabulary by what they are to JSON.

    Args:
        tokens: The vocabulary.
        spelled: The bytes of each token, none for special ones.
    """

    def __init__(self, tokens: LLTokenizer, spelled: Sequence[bytes]) -> None:
        self.tokens = tokens
        self.words = -(-tokens.vocab_size // WORD)
        quotes: list[int] = []
        ends: list[int] = []
        singles: dict[bytes, list[int]] = {}
        for token, data in enumerate(spelled):
            if len(data) == 1 or data == b", ":
                singles.setdefault(data, []).append(token)
            if data and data[:1] in b'"}])' and not data[1:].strip(b"}])"):
                (quotes if data[:1] == b'"' else ends).append(token)

        def single(*found: bytes) -> Mask:
            return self.mask([token for each in found for token in singles.get(each, ())])

        self._quotes, self._ends = self.mask(quotes), self.mask(ends)
        self._letters = [single(letter) for letter in (b"q", b"x", b"z")]
        self._lines = single(b"\n")
        self._commas = single(b",", b", ")
        self._parts = (single(b"@"), single(b":"))
        self._dots, self._others, self._blanks = single(b"."), single(b"x"), single(b" ")

    def mask(self, tokens: Sequence[int]) -> Mask:
        """The mask that has just these tokens."""
        mask = np.zeros(self.words, np.uint32)
        for token in tokens:
            mask[token // WORD] |= np.uint32(1 << token % WORD)
        return mask.view(np.int32)

    def is_free(self, mask: Mask) -> bool:
        """Whether a place is within text that no quotes surround."""
        return bool((mask & self._lines).any()) and self._is_text(mask)

    def _is_text(self, mask: Mask) -> bool:
        """Whether letters may come: it is no place between values."""
        return all((mask & letter).any() for letter in self._letters)

    def soonest(self, mask: Mask, said: Sequence[int]) -> Mask:
        """Of the tokens that may come after these, those that end the text soonest; all, where none is known
        to."""
        quotes, ends = mask & self._quotes, mask & self._ends
        text = self._is_text(mask)  # in which brackets are letters
        if quotes.any() and (text or not ends.any()):
            return quotes
        if ends.any() and not text:
            return ends
        # What leads on: to another property that is required, or to the rest of an address.
        for each in self._parts if text else (self._commas,):
            if (found := mask & each).any():
                return found
        return self._within_name(mask, said) if text and not (mask & self._blanks).any() else mask

    def _within_name(self, mask: Mask, said: Sequence[int]) -> Mask:
        """Of the tokens that may come in a host's name, those that end it soonest: a dot, then letters."""
        tail = self.tokens.decode_bytes(list(said[-3:]))
        found = mask & (self._others if b"." in tail[-3:] or tail.endswith(b"@") else self._dots)
        return found if found.any() else mask


class Way:
    """How one choice ends in time. Its answers depend on the tokens only.

    Args:
        closers: The vocabulary's.
        ending: What the answer has to keep to.
        start: The matcher at its beginning.
    """

    __slots__ = ("_closers", "_ending", "_first", "_last", "_least", "_looks", "_marks", "_start")

    def __init__(self, closers: Closers, ending: Ending, start: LLMatcher) -> None:
        self._closers = closers
        self._ending = ending
        self._first = max(0, min(ending.within // 2, ending.within - _EARLY))
        self._marks = [mark.encode() for mark in ending.marks]
        self._last = (ending.last or "").encode()
        self._start = start
        self._least: int | None = None if ending.last is not None else 0
        """The tokens that a part takes which may begin at any place. None: not yet known."""
        self._looks: list[tuple[int, int]] = []
        """The places at which it was looked how far the end is, each with the place of the next look, or with
        its own, where the end began."""

    @property
    def answers(self) -> bool:
        """Whether the answer is over where it is complete."""
        return self._ending.answers

    def rollback(self, place: int) -> None:
        """Forget what came after a place."""
        while self._looks and self._looks[-1][0] > place:
            self._looks.pop()

    def ends(self, matcher: LLMatcher, said: Sequence[int]) -> bool:
        """Whether it is time: nothing may come after these tokens but what ends the text."""
        place = len(said)
        at, again = self._looks[-1] if self._looks else (-1, self._first_look(said))
        if at == again:
            return True
        if place < again or at == place:
            return False
        if self._least is None:
            self._least = self._length(self._start, ())
        way = self._length(matcher, said)
        left = self._ending.within - place - max(way, self._least) - SPARE
        if way >= 0 and left <= 0:
            self._looks.append((place, place))
            return True
        # A token may begin what takes long to end, so looks come closer together.
        self._looks.append((place, place + max(1, (left if way >= 0 else left // 4) // 2)))
        return False

    def _first_look(self, said: Sequence[int]) -> int:
        """Its place: by the first tokens, so that it is the same wherever the choice goes on."""
        if self._first < 2 * _SPREAD:
            return self._first
        return self._first - sum(said[:_SPREAD]) % _SPREAD

    def next(self, matcher: LLMatcher, said: Sequence[int], mask: Mask) -> Mask:
        """Of the tokens that may come, those that end the text soonest."""
        if ids := self._known(matcher, said, mask):
            return mask & self._closers.mask(ids[:1])
        return mask if self._closers.is_free(mask) else self._closers.soonest(mask, said)

    def _length(self, matcher: LLMatcher, said: Sequence[int]) -> int:
        """The tokens of the way to where the text is complete. -1: there is none that is known."""
        walked = matcher.deep_copy()
        way: list[int] = []
        mask = np.empty(self._closers.words, np.int32)
        while not (walked.is_accepting() or walked.is_stopped()):
            if len(way) > min(_LONGEST_WAY, self._ending.within):
                return -1
            step = walked.compute_ff_tokens() or self._step(walked, [*said, *way], mask)
            if not step or walked.try_consume_tokens(step) != len(step):
                return -1
            way += step
        return -1 if walked.is_error() else len(way)

    def _step(self, matcher: LLMatcher, said: Sequence[int], mask: Mask) -> list[int]:
        matcher.unsafe_compute_mask_ptr(mask.ctypes.data, mask.nbytes)
        if ids := self._known(matcher, said, mask):
            return ids
        return [] if self._closers.is_free(mask) else _lowest(self._closers.soonest(mask, said))

    def _known(self, matcher: LLMatcher, said: Sequence[int], mask: Mask) -> list[int]:
        """What is known to end the answer, or the free text at hand; empty: nothing is."""
        tail = self._closers.tokens.decode_bytes(list(said[-_TAIL:]))
        for ids in self._rests(self._last, tail):
            tried = matcher.deep_copy()
            if tried.try_consume_tokens(ids) == len(ids) and tried.is_accepting():
                return ids
        if not self._closers.is_free(mask):
            return []
        for ids in (ids for mark in self._marks for ids in self._rests(mark, tail)):
            tried = matcher.deep_copy()
            if tried.try_consume_tokens(ids) != len(ids):
                continue
            after = np.zeros(self._closers.words, np.int32)
            if not tried.is_stopped():
                tried.unsafe_compute_mask_ptr(after.ctypes.data, after.nbytes)
            if not self._closers.is_free(after):
                return ids
        return []

    def _rests(self, mark: bytes, tail: bytes) -> Iterator[list[int]]:
        """The tokens of a mark without what the text's tail may have of it, the shortest first."""
        for begun in range(len(mark) - 1, -1, -1):
            if tail.endswith(mark[:begun]):
                yield list(self._closers.tokens.tokenize_bytes(mark[begun:], parse_special=True))


def _lowest(mask: Mask) -> list[int]:
    """The first token of a mask, as a list; an empty one of an empty mask."""
    found = mask.view(np.uint32).nonzero()[0][:1].tolist()
    return [word * WORD + _bit(int(mask.view(np.uint32)[word])) for word in found]


def _bit(word: int) -> int:
    return (word & -word).bit_length() - 1
