"""A place whose token is chosen."""

from typing import Protocol

from inferloom_mesh.light_dataclasses import dataclass
from inferloom_worker.engine.request import GenerationRequest
from inferloom_worker.stepping.adjustment import Adjustment


class Sampled(Protocol):
    """A choice whose tokens are chosen: of it one has to know what was asked for, and how far it is."""

    @property
    def request(self) -> GenerationRequest:
        """What was asked for."""
        ...

    @property
    def choice(self) -> int:
        """Its index."""
        ...

    @property
    def generated(self) -> int:
        """How many tokens were generated."""
        ...

    @property
    def adjustment(self) -> Adjustment | None:
        """What its request does to logits. None: nothing."""
        ...


@dataclass(frozen=True, slots=True)
class Row:
    """A place whose token is chosen: after a sequence's tokens and, as if it were certain, ``draft``."""

    sequence: Sampled
    draft: tuple[int, ...] = ()

    @property
    def generated(self) -> int:
        """The place in the choice, from 0."""
        return self.sequence.generated + len(self.draft)
