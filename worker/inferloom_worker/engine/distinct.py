"""The distinct tokens of a prompt, which penalties are for."""

from collections.abc import Mapping, Sequence
from functools import cached_property

import numpy as np
from numpy.typing import NDArray


class DistinctTokens:
    """Found when they are first asked for, once for all choices of a request, in time linear in the prompt's
    length.

    Args:
        tokens: The prompt, which does not change.
    """

    def __init__(self, tokens: Sequence[int]) -> None:
        self._tokens = tokens

    @cached_property
    def ids(self) -> NDArray[np.int64]:
        """The tokens [n], each once, by where they first stand."""
        return np.fromiter(self.places, np.int64, len(self.places))

    @cached_property
    def places(self) -> Mapping[int, int]:
        """Where each is in ``ids``."""
        known = dict.fromkeys(self._tokens)
        return dict(zip(known, range(len(known)), strict=True))

    @cached_property
    def greatest(self) -> int:
        """No token is greater; -1 where there is none."""
        return max(self.places, default=-1)


NO_TOKENS = DistinctTokens(())
