"""The workers that a registry told of, and what one client has with each. Pure; the caller guards it."""

import math
import random
from collections import Counter
from collections.abc import Callable, Sequence, Set

import grpc

from inferloom.client.errors import InferloomError
from inferloom.v1 import inference_pb2 as pb
from inferloom.v1.registry_pb2 import (
    LEASE_STATE_ACTIVE,
    WORKER_STATE_READY,
    ListWorkersResponse,
    RegisteredWorker,
)

FRESH_S = 1.0
"""How old a list is believed when it does not have what is looked for, and how often one is asked for."""

_OLD_S = 10.0
"""Past it a list is not used before a new one was asked for, if that can be had."""

_SETTLING_S = 2.0
"""When workers that a new registry does not know may have come back."""

_PASSED_OVER_S = 5.0
"""How long a worker that was lost is called only where there is no other: a registry lists it until its lease
ends."""


class Directory:
    """Which worker is called.

    A registry tells how busy workers were a second or two ago; what this client has asked of them since is
    counted here, so that calls that begin together do not all go to the same one.

    Args:
        clock: Monotonic seconds.
        draw: Draws from 0 to 1, between workers that have as little to do.
    """

    def __init__(self, clock: Callable[[], float], draw: Callable[[], float] = random.random) -> None:
        self._clock = clock
        self._draw = draw
        self._rows: Sequence[RegisteredWorker] = ()
        self._settling = False
        self._heard = self._asked = -math.inf
        self._away = False
        self._calls: Counter[str] = Counter()
        self._lost: dict[str, float] = {}

    @property
    def known(self) -> bool:
        """Whether there is a list."""
        return self._heard > -math.inf

    @property
    def fresh(self) -> bool:
        """Whether what is not in the list is not there."""
        return not self._settling and self._clock() - self._heard < FRESH_S

    @property
    def old(self) -> bool:
        """Whether a new list is worth waiting for a moment."""
        return not self._away and self._clock() - self._heard > _OLD_S

    def due(self) -> bool:
        """Whether a registry is to be asked now; who is told so asks."""
        now = self._clock()
        if now - self._asked < FRESH_S:
            return False
        self._asked = now
        return True

    def hear(self, listed: ListWorkersResponse) -> None:
        """Take the list of a registry that answered."""
        now = self._clock()
        self._rows, self._settling, self._away = listed.workers, listed.settling, False
        self._heard = self._asked = now
        self._lost = {each: when for each, when in self._lost.items() if now - when < _PASSED_OVER_S}

    def unheard(self) -> None:
        """Note that no registry answered: the last list goes on to hold."""
        self._away = True

    def models(self) -> list[pb.Model]:
        """The models that can be called, in the order of their names.

        Raises:
            InferloomError: There is none, and the registry has only just begun.
        """
        cards = {card.id: card for row in self._rows if _takes(row) for card in row.worker.models}
        if not cards and self._settling:
            raise _settles("No worker takes requests.")
        return [cards[name] for name in sorted(cards)]

    def choose(self, model: str, avoided: Set[str] = frozenset()) -> str:
        """The worker with the least to do; one that is ``avoided``, or was lost, where there is no other.

        Raises:
            InferloomError: None has the model.
        """
        able = self._able(model)
        if not able:
            message = f"No worker that takes requests has the model '{model}'."
            raise _settles(message) if self._settling else InferloomError(message, grpc.StatusCode.NOT_FOUND)
        return min(able, key=lambda row: self._order(row, avoided)).worker.address

    def has_other(self, model: str, avoided: Set[str]) -> bool:
        """Whether there is a worker for a model beside those."""
        return any(row.worker.address not in avoided for row in self._able(model))

    def begin(self, address: str) -> None:
        """Note that a worker is called."""
        self._calls[address] += 1

    def end(self, address: str) -> None:
        """Note that a call of it is over."""
        self._calls[address] -= 1
        if not self._calls[address]:
            del self._calls[address]

    def lost(self, address: str) -> None:
        """Note that a worker went away, or is silent."""
        self._lost[address] = self._clock()

    def _able(self, model: str) -> list[RegisteredWorker]:
        return [
            row for row in self._rows if _takes(row) and any(card.id == model for card in row.worker.models)
        ]

    def _order(self, row: RegisteredWorker, avoided: Set[str]) -> tuple[bool, bool, float, float, float]:
        address, capacity = row.worker.address, max(1, row.worker.capacity)
        own = self._calls[address]
        # What the registry tells has this client's earlier calls in it: together they would count twice.
        busy = max(row.load.running + row.load.waiting, own)
        lost = self._clock() - self._lost.get(address, -math.inf) < _PASSED_OVER_S
        return address in avoided, lost, busy / capacity, own / capacity, self._draw()


def _takes(row: RegisteredWorker) -> bool:
    """Whether a worker takes requests."""
    return row.worker.state == WORKER_STATE_READY and row.lease_state == LEASE_STATE_ACTIVE


def _settles(message: str) -> InferloomError:
    words = f"{message} The registry has only just begun."
    return InferloomError(words, grpc.StatusCode.UNAVAILABLE, retry_after_s=_SETTLING_S)
