"""Which tokens a request may draw at all."""

from collections.abc import Collection, Sequence

import numpy as np
from numpy.typing import NDArray

from inferloom_worker.engine.constraint import WORD, Mask

NOTHING_ALLOWED = "Of the tokens that the request allows, none may come here."


class TokenLimits:
    """The tokens that are allowed, and sequences of tokens that must not come. Immutable: the choices of a
    request share it.

    Args:
        allowed: The only tokens that may come. None: all.
        barred: Sequences, none of them empty, that must not be among the generated tokens.
    """

    def __init__(self, allowed: Collection[int] | None, barred: Collection[Sequence[int]] = ()) -> None:
        self.allowed: NDArray[np.int64] | None = (
            None if allowed is None else np.fromiter(sorted(allowed), np.int64, len(allowed))
        )
        self.sequences = tuple(tuple(sequence) for sequence in barred)
        """The barred sequences."""
        self.never = [sequence[0] for sequence in barred if len(sequence) == 1]
        """Tokens that are barred whatever was generated."""
        self._after: dict[int, list[tuple[list[int], int]]] = {}
        """By the last token before its end, each sequence's beginning and its end."""
        for *beginning, end in barred:
            if beginning:
                self._after.setdefault(beginning[-1], []).append((beginning, end))
        self.longest = max((len(sequence) - 1 for sequence in barred), default=0)
        """Generated tokens that it has to know at most."""
        self._mask: Mask | None = None

    def mask(self, vocab_size: int) -> Mask | None:
        """``allowed`` as a mask of a vocabulary, made once. None: all. For one thread."""
        if self.allowed is None:
            return None
        if self._mask is None or len(self._mask) != -(-vocab_size // WORD):
            bits = np.zeros(-(-vocab_size // WORD) * WORD, np.bool_)
            bits[self.allowed] = True
            self._mask = np.packbits(bits, bitorder="little").view(np.int32)
        return self._mask

    def barred(self, before: Sequence[int]) -> list[int]:
        """The tokens that may not come after those that were generated, of which the last ``longest`` do."""
        return [*self.never, *self.ends(before)]

    def ends(self, before: Sequence[int]) -> list[int]:
        """Those of :meth:`barred` that would end a barred sequence of several tokens."""
        found: list[int] = []
        for beginning, end in self._after.get(before[-1], ()) if before else ():
            if list(before[-len(beginning) :]) == beginning:
                found.append(end)
        return found
