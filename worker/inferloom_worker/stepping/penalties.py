"""Which of a choice's tokens are penalised, and by how much."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from inferloom_worker.engine.protocol import Sampling

_LEAST = 64
"""Tokens that there is room for at first."""


class Penalties:
    """A table of one choice's distinct tokens that takes in new ones as they come: of a step it takes in what
    is new, however long the choice is.

    Args:
        sampling: The penalties; there are some.
        tokens: The choice's tokens, prompt first. The list may grow, and never changes otherwise.
        prompt: How many of them are the prompt. The penalty for repetition is for its tokens too.
    """

    def __init__(self, sampling: Sampling, tokens: Sequence[int], prompt: int) -> None:
        self.repetition = sampling.repetition_penalty
        """What the logits of all tokens of the table are divided by, or multiplied with below 0."""
        self.subtracts = bool(sampling.presence_penalty or sampling.frequency_penalty)
        """Whether there is more to it."""
        self._presence = np.float32(sampling.presence_penalty)
        self._frequency = np.float32(sampling.frequency_penalty)
        self._source = tokens
        known = dict.fromkeys(tokens[:prompt]) if self.repetition != 1.0 else {}
        self._places = dict(zip(known, range(len(known)), strict=True))
        self._counts = [0] * len(known)
        self._certain = self._size = len(known)
        self._tokens = np.empty(max(2 * self._size, _LEAST), np.int64)
        self._tokens[: self._size] = list(known)
        self._amounts = self._certain_amounts = np.zeros(len(self._tokens), np.float32)
        self._read = prompt
        self._drafted: tuple[int, ...] = ()
        self.greatest = max(known, default=-1)
        """No token of the table is greater."""

    def after(self, draft: tuple[int, ...] = ()) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """The table after the choice's tokens and, as if they were certain, those of ``draft``.

        numpy warns of amounts that are no numbers.

        Returns:
            The distinct tokens [n], and what is taken from their logits [n] for having been generated, once
            and each time; good until the choice has more tokens.
        """
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
        for token in tokens:
            place = self._places.get(token)
            if place is None:
                place = self._place(token)
            count = self._counts[place] = self._counts[place] + 1
            if self.subtracts:  # in single precision, each operation rounded
                self._amounts[place] = self._presence + self._frequency * np.float32(count)

    def _place(self, token: int) -> int:
        """Make a place for a token."""
        place = self._places[token] = self._size
        self._size += 1
        self._counts.append(0)
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
            for token in self._drafted:
                self._counts[self._places[token]] -= 1
            for token in self._tokens[self._certain : self._size].tolist():
                del self._places[token]
            del self._counts[self._certain :]
            self._size = self._certain
            self._amounts = self._certain_amounts
            self._drafted = ()
