"""Keeps the fleet like the registry's: follows its Watch stream for as long as the gateway runs."""

import asyncio
import logging
from collections.abc import Callable
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


class Membership:
    """Feeds a fleet from a registry.

    A registry that is down changes nothing: the last good set stays, and workers are judged by their own
    calls until it is back. ``security`` is what the gateway shows it, and asks of it.
    """

    def __init__(
        self,
        registry: Address,
        fleet: Fleet,
        connections: Connections[Any],
        clock: Callable[[], float],
        security: Security = OPEN,
    ) -> None:
        self.arrived = asyncio.Event()
        """Set once a first snapshot has arrived."""
        self.failed = asyncio.Event()
        """Set once the registry could not be reached."""
        self._registry = registry
        self._fleet = fleet
        self._connections = connections
        self._clock = clock
        self._security = security
        self._since = registry_pb2.WatchRequest()

    async def run(self) -> None:
        """Follow the registry until cancelled."""
        async with open_channel(self._registry, security=self._security, of=Role.REGISTRY) as channel:
            stub: RegistryServiceAsyncStub = RegistryServiceStub(channel)
            waits = backoff()
            connected, waiting_told, began = True, False, self._clock()
            while True:
                try:
                    async for change in stub.Watch(self._since, metadata=self._security.metadata):
                        if not connected:
                            log.info("registry at %s is back", self._registry)
                        connected, waits = True, backoff()
                        self._apply(change)
                    reason = "it ended the stream"
                except grpc.aio.AioRpcError as failure:
                    reason = f"{failure.code().name}: {failure.details()}"
                if self.arrived.is_set():
                    if connected:
                        log.warning(
                            "registry at %s is gone (%s); keeping the last set", self._registry, reason
                        )
                elif not waiting_told and self._clock() - began >= _PATIENCE_S:
                    waiting_told = True
                    log.warning("still no registry at %s (%s)", self._registry, reason)
                elif connected:
                    log.info("waiting for the registry at %s", self._registry)
                connected = False
                self.failed.set()
                await asyncio.sleep(next(waits))

    def _apply(self, change: registry_pb2.WatchResponse) -> None:
        differing = self._fleet.differing
        for member in self._fleet.apply(change, self._clock()):
            log.info("worker %s left", member.id)
            self._connections.retire(member)
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
