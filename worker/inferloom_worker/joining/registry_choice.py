"""Which of several registries a worker is with."""

import logging
import random
import time
from collections.abc import Callable, Sequence
from hashlib import blake2b

from inferloom_mesh.net import Address

log = logging.getLogger(__name__)

RETURN_S = 30.0
"""Seconds after which a worker that is with another registry than its own tries to come back, half as long to
half as long again: workers shall be spread over registries also after these were restarted one by one."""


class RegistryChoice:
    """One registry at a time: the worker's own by its name, so that workers are spread, and another when that
    is lost.

    Args:
        registries: Where they are; at least one.
        name: Gives the worker's name, once it is asked for.
        clock: Monotonic seconds.
    """

    def __init__(
        self,
        registries: Sequence[Address],
        name: Callable[[], str],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._registries = registries
        self._name = name
        self._clock = clock
        self._at: int | None = None
        self._outage = False
        self._failed_in_turn = 0
        self._away_since: float | None = None
        self._patience = RETURN_S * random.uniform(0.5, 1.5)  # noqa: S311 # not a secret

    @property
    def alone(self) -> bool:
        """Whether there is no other registry to go to, so that one that is down is waited for."""
        return len(self._registries) == 1

    @property
    def place(self) -> int:
        """The place of the registry that is spoken to now among all of them."""
        if self._at is None:
            self._at = self._own()
        return self._at

    @property
    def address(self) -> Address:
        """Where it is."""
        return self._registries[self.place]

    def failed(self, why: str) -> None:
        """Say that it cannot be used, the first time in an outage."""
        if self._outage:
            return
        self._outage = True
        if self.alone:
            words = "the registry at %s cannot be used, and is tried again (--registry names another): %s"
        else:
            words = "the registry at %s cannot be used; trying another: %s"
        log.warning(words, self.address, why)

    def succeeded(self) -> None:
        """Note that it has answered; say so after an outage."""
        if self._outage:
            log.info("the registry at %s %s", self.address, "is back" if self.alone else "is used now")
        self._outage, self._failed_in_turn = False, 0

    def move_on(self) -> bool:
        """Speak to the next from now on. Returns whether all of them have failed in turn."""
        self._failed_in_turn += 1
        self._at = (self.place + 1) % len(self._registries)
        self._away_since = self._clock()
        return self._failed_in_turn % len(self._registries) == 0

    def goes_back(self) -> bool:
        """Go back to the worker's own registry if it has been with another for long enough; whether that is
        so."""
        since = self._away_since
        if since is None or self._clock() - since < self._patience:
            return False
        own, here, self._away_since = self._own(), self.place, None
        self._at = own
        return own != here

    def _own(self) -> int:
        name = self._name()
        scores = [blake2b(f"{name}@{each}".encode()).digest() for each in self._registries]
        return scores.index(max(scores))
