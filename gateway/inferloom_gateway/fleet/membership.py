"""Keeps the fleet like the registry's: follows its Watch stream for as long as the gateway runs."""

import asyncio
import logging
import random
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import AsyncExitStack, aclosing
from typing import TYPE_CHECKING, Any

import grpc

from inferloom.v1 import registry_pb2
from inferloom.v1.registry_pb2_grpc import RegistryServiceStub
from inferloom_gateway.fleet.connections import Connections
from inferloom_gateway.fleet.members import Fleet
from inferloom_mesh.backoff import backoff
from inferloom_mesh.channel import open_channel
from inferloom_mesh.net import Address
from inferloom_mesh.roles import Role
from inferloom_mesh.security import OPEN, Security

if TYPE_CHECKING:
    from inferloom.v1.registry_pb2_grpc import RegistryServiceAsyncStub

log = logging.getLogger(__name__)

_PATIENCE_S = 10.0
"""How long a registry that has not been heard yet may take to come before that is worth a warning."""

_FROZEN_S = 5.0
"""How long a registry that has lost its store is listened to before another is asked again."""


class _FrozenError(Exception):
    """A registry has lost its store."""


class Membership:
    """Feeds a fleet from a registry: one of those that there are, and another when that one is lost.

    A registry that is down changes nothing: the last good set stays, and workers are judged by their own
    calls until it is back. One that has lost its store, and so may know less than another, is left if there
    is another; what it says meanwhile takes nobody away.

    Args:
        registries: Where the registries are; at least one. Which comes first is drawn.
        fleet: Is fed.
        connections: Are closed when their workers left.
        clock: Monotonic seconds.
        security: What the gateway shows them, and asks of them.
    """

    def __init__(
        self,
        registries: Sequence[Address],
        fleet: Fleet,
        connections: Connections[Any],
        clock: Callable[[], float],
        security: Security = OPEN,
    ) -> None:
        self.arrived = asyncio.Event()
        """Set once a first snapshot has arrived."""
        self.failed = asyncio.Event()
        """Set once no registry could be reached."""
        self.followed: Address | None = None
        """The registry that tells it of changes now; None: none does."""
        self.troubles: dict[Address, str] = {}
        """What was wrong with registries when they were last asked."""
        self._registries = registries
        self._fleet = fleet
        self._connections = connections
        self._clock = clock
        self._security = security
        self._since = registry_pb2.WatchRequest()
        self._unheard = 0
        """Registries that were tried in turn and told nothing that is good."""

    async def run(self) -> None:
        """Follow a registry until cancelled."""
        async with AsyncExitStack() as opened:
            stubs: list[RegistryServiceAsyncStub] = [
                RegistryServiceStub(
                    await opened.enter_async_context(
                        open_channel(registry, security=self._security, of=Role.REGISTRY)
                    )
                )
                for registry in self._registries
            ]
            waits = backoff()
            connected, waiting_told, began = True, False, self._clock()
            at = random.randrange(len(stubs))  # noqa: S311 # not a secret
            while True:
                registry = self._registries[at]
                try:
                    async with aclosing(self._watch(stubs[at])) as changes:
                        async for change in changes:
                            self._apply(change)
                            self.followed, self._fleet.followed = registry, True
                            self.troubles.pop(registry, None)
                            if self._fleet.frozen and stubs[1:]:
                                continue
                            if not connected:
                                log.info(
                                    "registry at %s is %s", registry, "used now" if stubs[1:] else "back"
                                )
                            connected, self._unheard, waits = True, 0, backoff()
                    reason = "it ended the stream"
                except grpc.aio.AioRpcError as failure:
                    reason = f"{failure.code().name}: {failure.details()}"
                except _FrozenError:
                    reason = f"it is frozen: {self._fleet.frozen}"
                self.followed, self._fleet.followed = None, False
                self.troubles[registry] = reason
                at = (at + 1) % len(stubs)
                self._unheard += 1
                if self.arrived.is_set():
                    if connected:
                        log.warning("registry at %s is gone (%s); keeping the last set", registry, reason)
                elif not waiting_told and self._clock() - began >= _PATIENCE_S:
                    waiting_told = True
                    log.warning("still no registry at %s (%s)", registry, reason)
                elif connected:
                    log.info("waiting for the registry at %s", registry)
                connected = False
                if self._unheard % len(stubs) == 0:
                    self.failed.set()
                    await asyncio.sleep(next(waits))

    async def _watch(
        self, stub: "RegistryServiceAsyncStub"
    ) -> AsyncGenerator[registry_pb2.WatchResponse, None]:
        """Yield what a registry tells.

        Raises:
            AioRpcError: It fails.
            _FrozenError: It has lost its store, and another one may not.
        """
        call = stub.Watch(self._since, metadata=self._security.metadata)
        patience = None
        try:
            while True:
                try:
                    async with asyncio.timeout(patience):
                        change = await call.read()
                except TimeoutError:
                    raise _FrozenError from None
                if not isinstance(change, registry_pb2.WatchResponse):
                    return
                yield change
                patience = None
                if self._fleet.frozen and len(self._registries) > 1:
                    # All are asked at once, and then now and then.
                    patience = 0.0 if self._unheard < len(self._registries) - 1 else _FROZEN_S
        finally:
            call.cancel()

    def _apply(self, change: registry_pb2.WatchResponse) -> None:
        differing = self._fleet.differing
        for member in self._fleet.apply(change, self._clock()):
            log.info("worker %s left", member.id)
            self._connections.retire(member)
        if change.HasField("snapshot"):
            self._connections.attach(self._fleet.members())
        elif change.HasField("put") and (known := self._fleet.member(change.put.worker.id)) is not None:
            self._connections.attach((known,))
        _warn_of_differences(differing, self._fleet.differing)
        if change.HasField("put"):
            worker = change.put.worker
            log.debug("worker %s at %s: epoch %d", worker.id, worker.address, change.put.epoch)
        if change.HasField("snapshot"):
            # A settling set is not whole, so what follows it after a break must start with a whole one.
            resumable = not change.snapshot.settling
            self.arrived.set()
        else:
            resumable = bool(self._since.registry_id)
        if resumable:
            self._since.from_revision = change.revision
            self._since.registry_id = change.registry_id
        else:
            self._since.Clear()


def _warn_of_differences(
    before: dict[str, dict[str, list[str]]], now: dict[str, dict[str, list[str]]]
) -> None:
    """Log once for each change in which workers of one model do not compute the same."""
    for model, kinds in now.items():
        if kinds != before.get(model):
            told = "; ".join(f"{', '.join(sorted(ids))} ({key[:12]})" for key, ids in sorted(kinds.items()))
            log.warning("the workers of model %s do not compute the same: %s", model, told)
    for model in before.keys() - now.keys():
        log.info("the workers of model %s compute the same again", model)
