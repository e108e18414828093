"""Which of a choice's tokens are penalised, and by how much."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from inferloom_worker.engine.distinct import NO_TOKENS, DistinctTokens
from inferloom_worker.engine.sampling import Sampling

_LEAST = 64
"""Tokens that there is room for at first."""


class Penalties:
    """A table of one choice's distinct tokens that takes in new ones as they come: of a step it takes in what
    is new, however long the choice is. It is made when it is first asked for: a choice that waits has none.

    Args:
        sampling: The penalties; there are some.
        tokens: The choice's tokens, prompt first. The list may grow, and never changes otherwise.
        prompt: How many of them are the prompt. The penalty for repetition is for its tokens too.
        distinct: The prompt's tokens, for all choices of a request.
    """

    def __init__(
        self, sampling: Sampling, tokens: Sequence[int], prompt: int, distinct: DistinctTokens
    ) -> None:
        self.repetition = sampling.repetition_penalty
        """What the logits of all tokens of the table are divided by, or multiplied with below 0."""
        self.subtracts = bool(sampling.presence_penalty or sampling.frequency_penalty)
        """Whether there is more to it."""
        self._presence = np.float32(sampling.presence_penalty)
        self._frequency = np.float32(sampling.frequency_penalty)
        self._source = tokens
        self._known = distinct if self.repetition != 1.0 else NO_TOKENS
        self._places: dict[int, int] = {}
        """Of tokens that the prompt does not have."""
        self._counts: dict[int, int] = {}
        """How often the token at a place was generated."""
        self._certain = self._size = 0
        self._tokens = np.empty(0, np.int64)
        self._amounts = self._certain_amounts = np.empty(0, np.float32)
        self._read = prompt
        self._begun = False
        self._drafted: tuple[int, ...] = ()
        self.greatest = -1
        """No token of the table is greater, as it last was."""

    def _begin(self) -> None:
        """Put the prompt's tokens into the table."""
        self._begun = True
        known = self._known
        self._certain = self._size = size = len(known.ids)
        self._tokens = np.empty(size + _LEAST, np.int64)
        self._tokens[:size] = known.ids
        self._amounts = self._certain_amounts = np.zeros(size + _LEAST, np.float32)
        self.greatest = known.greatest

    def after(self, draft: tuple[int, ...] = ()) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """The table after the choice's tokens and, as if they were certain, those of ``draft``.

        numpy warns of amounts that are no numbers.

        Returns:
            The distinct tokens [n], and what is taken from their logits [n] for having been generated, once
            and each time; good until the choice has more tokens.
        """
        if not self._begun:
            self._begin()
        new = self._source[self._read :]
        if new or self._drafted != draft[: len(self._drafted)]:
            self._forget()
        if new:
            self._add(new)
            self._read += len(new)
            self._certain = self._size
        if not draft:
            return self._tokens[: self._size], self._amounts[: self._size]
        if not self._drafted:
            self._certain_amounts, self._amounts = self._amounts, self._amounts.copy()
        self._add(draft[len(self._drafted) :])
        self._drafted = draft
        return self._tokens[: self._size].copy(), self._amounts[: self._size].copy()

    def _add(self, tokens: Sequence[int]) -> None:
        known, own, counts = self._known.places, self._places, self._counts
        for token in tokens:
            place = known.get(token)
            if place is None:
                place = own.get(token)
                if place is None:
                    place = self._place(token)
            count = counts[place] = counts.get(place, 0) + 1
            if self.subtracts:  # in single precision, each operation rounded
                self._amounts[place] = self._presence + self._frequency * np.float32(count)

    def _place(self, token: int) -> int:
        """Make a place for a token."""
        place = self._places[token] = self._size
        self._size += 1
        if place == len(self._tokens):
            self._tokens = np.concatenate((self._tokens, self._tokens))
        if place == len(self._amounts):
            self._amounts = np.concatenate((self._amounts, self._amounts))
        self._tokens[place] = token
        self._amounts[place] = 0.0
        self.greatest = max(self.greatest, token)
        return place

    def _forget(self) -> None:
        """Take the draft back."""
        if self._drafted:
            known, own = self._known.places, self._places
            for token in self._drafted:
                self._counts[known[token] if token in known else own[token]] -= 1
            for token in self._tokens[self._certain : self._size].tolist():
                del self._counts[own.pop(token)]
            self._size = self._certain
            self._amounts = self._certain_amounts
            self._drafted = ()
