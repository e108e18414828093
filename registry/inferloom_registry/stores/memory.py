"""Keeps registrations in this process: the default store."""

from inferloom.v1 import registry_pb2 as pb
from inferloom_registry.registration import Registration
from inferloom_registry.stores.protocol import Follower, Store


class Shelf:
    """The memory that stores with one shelf share, as stores of one etcd share its keys."""

    def __init__(self) -> None:
        self.registrations: dict[str, Registration] = {}
        self.followers: dict[str, Follower] = {}
        """By the name of the registry."""


class MemoryStore(Store):
    """A store in memory, which a restart empties: workers then register again.

    No method ever suspends, so every write is atomic on the event loop.

    Args:
        registry: Name of the registry that uses it.
        shelf: Memory to share with other stores of the same process; its own without it.
    """

    def __init__(self, registry: str = "", shelf: Shelf | None = None) -> None:
        self.registry = registry
        self._shelf = shelf or Shelf()
        self._open = False

    async def open(self, follower: Follower) -> None:
        for registration in self._shelf.registrations.values():
            follower.stored(registration)
        self._shelf.followers[self.registry] = follower
        self._open = True
        self._tell_registries()

    async def put(self, registration: Registration, replaces: Registration | None) -> bool:
        if not self._holds(registration.worker_id, replaces):
            return False
        self._shelf.registrations[registration.worker_id] = registration
        for follower in self._shelf.followers.values():
            follower.stored(registration)
        return True

    async def remove(self, registration: Registration, reason: pb.LeaseLoss.ValueType) -> bool:
        if not self._holds(registration.worker_id, registration):
            return False
        del self._shelf.registrations[registration.worker_id]
        for follower in self._shelf.followers.values():
            follower.removed(registration, reason)
        return True

    async def catch_up(self) -> None:
        """Nothing is ever behind."""

    async def close(self) -> None:
        if self._open:
            self._open = False
            del self._shelf.followers[self.registry]
            self._tell_registries()

    def _tell_registries(self) -> None:
        for follower in self._shelf.followers.values():
            follower.registries(frozenset(self._shelf.followers))

    def _holds(self, worker_id: str, expected: Registration | None) -> bool:
        held = self._shelf.registrations.get(worker_id)
        if held is None or expected is None:
            return held is expected
        return (held.lease_id, held.version) == (expected.lease_id, expected.version)
