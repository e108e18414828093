"""What a registry needs of the place that keeps registrations.

A store keeps and tells; it decides nothing. Leases, epochs and expiry are the lease table's, the same over
every store. Several registries may share one store, and each follows what all of them write.

What is written is what lasts (:class:`~inferloom_registry.registration.Registration`), so that writes come at
the rate of changes and not of renewals. Each registration names the registry that its worker renews with, its
keeper, and a store also tells which registries are there, so that what a lost one kept is taken over.
"""

from abc import ABC, abstractmethod
from typing import Protocol

from inferloom.v1 import registry_pb2 as pb
from inferloom_registry.registration import Registration


class Follower(Protocol):
    """Is told what a store holds. No method waits, and all run on the event loop."""

    def stored(self, registration: Registration) -> None:
        """``registration`` is now the one that is stored for its worker."""

    def removed(self, registration: Registration, reason: pb.LeaseLoss.ValueType) -> None:
        """Nothing is stored any more for the worker of ``registration``, which was the last."""

    def registries(self, present: frozenset[str]) -> None:
        """The registries that use the store now, by their names."""

    def out_of_reach(self, why: str | None) -> None:
        """The store cannot be used since a while, for ``why``; None: it can be used again, and all that
        happened meanwhile has been told."""


class Store(ABC):
    """Keeps at most one registration for each worker id.

    Every write is compared and swapped on :attr:`Registration.version`, so that of two registries which
    decide on the same state only one succeeds. The other has been told of the winner's write when it learns
    that it lost, and decides again.

    Every method but :meth:`close` raises InferloomError with SERVER_OVERLOADED while the store is out of
    reach; whether a write that raised has happened is then unknown until the follower is told.
    """

    @abstractmethod
    async def open(self, follower: Follower) -> None:
        """Start telling ``follower``.

        When this returns it has been told of every registration that is stored. From then until
        :meth:`close` it is told of each write by any registry, its own included, once and in the order
        in which they happened.
        """

    @abstractmethod
    async def put(self, registration: Registration, replaces: Registration | None) -> bool:
        """Store ``registration`` if what is stored for its worker still is ``replaces``; None: nothing.

        Returns:
            Whether it was stored. Either way the follower has been told, before this returns, of what is
            stored now.
        """

    @abstractmethod
    async def remove(self, registration: Registration, reason: pb.LeaseLoss.ValueType) -> bool:
        """Remove ``registration`` if it still is what is stored for its worker.

        ``reason`` is passed on to followers.

        Returns:
            Whether it was removed. Either way the follower has been told, before this returns, of what is
            stored now.
        """

    @abstractmethod
    async def catch_up(self) -> None:
        """Return once the follower has been told of every write that succeeded before this was called."""

    @property
    def floor(self) -> int:
        """An epoch that no registration removed from the store has exceeded; 0 where it does not know."""
        return 0

    @abstractmethod
    async def close(self) -> None:
        """Stop telling the follower. What is stored stays. Closing twice is no error."""
