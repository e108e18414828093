"""The gateway's channels to workers."""

import asyncio
import logging
from typing import TYPE_CHECKING

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

from inferloom.v1.inference_pb2_grpc import InferenceServiceStub
from inferloom_gateway.fleet.members import Member
from inferloom_mesh.backoff import backoff
from inferloom_mesh.channel import open_channel

if TYPE_CHECKING:
    from inferloom.v1.inference_pb2_grpc import InferenceServiceAsyncStub

log = logging.getLogger(__name__)

PROBE_TIMEOUT_S = 5.0


class Connections:
    """One channel per worker, opened at its first call.

    Args:
        linger_s: How long calls that still run on a worker that left the set may take to end.
    """

    def __init__(self, linger_s: float) -> None:
        self._linger_s = linger_s
        self._channels: dict[Member, grpc.aio.Channel] = {}
        self._stubs: dict[Member, InferenceServiceAsyncStub] = {}
        self._probes: dict[Member, asyncio.Task[None]] = {}
        self._closing: set[asyncio.Task[None]] = set()

    def stub(self, member: Member) -> "InferenceServiceAsyncStub":
        """The calls of one worker."""
        stub = self._stubs.get(member)
        if stub is None:
            stub = self._stubs[member] = InferenceServiceStub(self._channel(member))
        return stub

    def lost(self, member: Member) -> None:
        """Keep new calls away from a worker until it answers a probe."""
        member.health.reachable = False
        if member not in self._probes and member in self._channels:
            log.warning("worker %s at %s is unreachable", member.id, member.address)
            self._probes[member] = asyncio.create_task(self._probe(member), name=f"probe {member.id}")

    def retire(self, member: Member) -> None:
        """Close the channel of a worker that left the set, once its calls have ended."""
        if probe := self._probes.pop(member, None):
            probe.cancel()
        self._stubs.pop(member, None)
        if channel := self._channels.pop(member, None):
            closing = asyncio.create_task(channel.close(self._linger_s if member.in_flight else None))
            self._closing.add(closing)
            closing.add_done_callback(self._closing.discard)

    async def close(self) -> None:
        """Close every channel at once."""
        tasks = (*self._probes.values(), *self._closing)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await asyncio.gather(*(channel.close() for channel in self._channels.values()))
        self._probes.clear()
        self._channels.clear()
        self._stubs.clear()

    def _channel(self, member: Member) -> grpc.aio.Channel:
        channel = self._channels.get(member)
        if channel is None:
            channel = self._channels[member] = open_channel(member.address)
        return channel

    async def _probe(self, member: Member) -> None:
        """Ask for the worker's health until it gives any answer."""
        check = health_pb2_grpc.HealthStub(self._channels[member]).Check  # type: ignore[attr-defined] # set at run time
        for wait in backoff():
            try:
                await check(health_pb2.HealthCheckRequest(), timeout=PROBE_TIMEOUT_S, wait_for_ready=True)
                break
            except grpc.aio.AioRpcError as failure:
                if failure.code() in (grpc.StatusCode.UNIMPLEMENTED, grpc.StatusCode.NOT_FOUND):
                    break
            await asyncio.sleep(wait)
        member.health.reachable = True
        self._probes.pop(member, None)
        log.info("worker %s at %s answers again", member.id, member.address)
