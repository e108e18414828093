"""What an engine asks of a constraint on a choice's tokens: masks, and places in it. It knows no grammar."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

WORD = 32
"""Tokens of one word of a mask."""

Mask = NDArray[np.int32]
"""Bit ``t % 32`` of word ``t // 32`` says whether token t may come: int32 [ceil(vocab_size / 32)]."""


class ConstraintError(Exception):
    """A constraint cannot be followed any further; the message says why, in words for the caller."""


class Matcher(Protocol):
    """How far one choice has come in its constraint. For one thread at a time."""

    @property
    def ended(self) -> bool:
        """Whether it is known that nothing may follow but an end."""
        ...

    def fill(self, mask: Mask) -> bool:
        """Write the tokens that may come next. False: none but an end, so that no token is to be chosen.

        Other threads run meanwhile.

        Raises:
            ConstraintError: What may come next cannot be worked out within the limits.
        """
        ...

    def allowed(self, tokens: Sequence[int]) -> int:
        """How many of the tokens may come next, one after the other."""
        ...

    def forced(self) -> Sequence[int]:
        """The tokens that come next whatever the model says; empty where it has a choice."""
        ...

    def accept(self, token: int) -> None:
        """Go on by a token that is no end. Raises ConstraintError where it may not come."""
        ...

    def replay(self, tokens: Sequence[int]) -> None:
        """Go on by tokens that another matcher of the constraint has gone by, to be as it was after them.

        Raises:
            ConstraintError: One of them may not come.
        """
        ...

    def rollback(self, count: int) -> None:
        """Take back the last ``count`` tokens, also where the constraint could not be followed after them.

        Raises:
            ConstraintError: There is no way back.
        """
        ...


@dataclass(frozen=True, slots=True)
class PortableConstraint:
    """A constraint as text, for an engine that computes in another process."""

    grammar: str
    """In the dialect of llguidance, or as its list of grammars in JSON."""
    stops: tuple[int, ...] = ()
    """Tokens with which the caller ends a choice, besides the model's own."""
    ignores_ends: bool = False
    """Whether the model's own are to come only where nothing else may."""


class Constraint(Protocol):
    """What every choice of a request must conform to. Shared by threads."""

    @property
    def portable(self) -> PortableConstraint:
        """The same as text, without its end in time."""
        ...

    @property
    def bytes(self) -> int:
        """Memory that a choice in it takes, as far as that is known."""
        ...

    def matcher(self) -> Matcher:
        """One choice's place in it, at the beginning."""
        ...
