"""The other processes of this gateway and of others: who they are, and how they are asked."""

import asyncio
import os
import socket
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from hashlib import blake2b
from secrets import token_hex
from typing import TYPE_CHECKING, Any, TypeVar

import grpc

from inferloom.v1 import gateway_pb2 as pb
from inferloom.v1 import registry_pb2
from inferloom.v1.gateway_pb2_grpc import GatewayServiceStub
from inferloom.v1.registry_pb2_grpc import RegistryServiceStub
from inferloom_mesh.channel import open_channel
from inferloom_mesh.durations import seconds
from inferloom_mesh.net import Address, is_loopback
from inferloom_mesh.roles import Role
from inferloom_mesh.security import Security

if TYPE_CHECKING:
    from inferloom.v1.gateway_pb2_grpc import GatewayServiceAsyncStub
    from inferloom.v1.registry_pb2_grpc import RegistryServiceAsyncStub

    Stub = GatewayServiceAsyncStub

ANSWER_S = 1.0
"""How long another process may take to answer."""

REGISTRY_S = 0.5
"""How long a registry may take."""

RENEW_S = 5.0
"""How often the registries are told that this process is there, where they do not say how often."""

MOST_ASKED = 256
"""Processes that are asked; the others are named."""

FRESH_S = 0.25
"""How old the list of processes may be that a question goes to."""

T = TypeVar("T")


class Peers:
    """Those that this process can ask.

    Every registry is told that it is there, and says who else is. A registry that is away takes nobody
    along: what it last said holds until it answers again.

    Args:
        registries: Where the registries are.
        security: What is shown to them and to other gateways.
        clock: Monotonic seconds.
    """

    def __init__(self, registries: Sequence[Address], security: Security, clock: Callable[[], float]) -> None:
        self.own = registry_pb2.GatewayInstance(
            instance=token_hex(8), pid=os.getpid(), machine=this_machine()
        )
        """What is said of this process; nothing, as long as it has no address."""
        self.silent: dict[str, pb.Unanswered] = {}
        """The registries that did not answer when they were last asked, by their addresses."""
        self._where = registries
        self._security = security
        self._clock = clock
        self._registries: dict[Address, RegistryServiceAsyncStub] = {}
        self._gateways: dict[str, Stub] = {}
        self._channels: dict[str, grpc.aio.Channel] = {}
        self._said: dict[Address, Sequence[registry_pb2.GatewayInstance]] = {}
        self._asked = float("-inf")
        self._every = RENEW_S
        self._asking: asyncio.Task[None] | None = None

    @property
    def metadata(self) -> tuple[tuple[str, str], ...]:
        """What goes with each call to another process."""
        return self._security.metadata

    async def run(self) -> None:
        """Say that this process is there until cancelled, and then that it ends."""
        try:
            while True:
                await self._ask_registries()
                await asyncio.sleep(self._every)
        finally:
            if self.own.address:
                calls = (self._tell(each, leaving=True) for each in self._where)
                await asyncio.gather(*calls, return_exceptions=True)

    async def close(self) -> None:
        """Close all connections."""
        if self._asking is not None:
            self._asking.cancel()
            await asyncio.gather(self._asking, return_exceptions=True)
        for channel in self._channels.values():
            await channel.close()

    async def others(self) -> list[registry_pb2.GatewayInstance]:
        """The other processes, as the registries say now, or said last where they do not answer."""
        if self._clock() - self._asked > FRESH_S:
            if self._asking is None or self._asking.done():
                self._asking = asyncio.create_task(self._ask_registries())
            await asyncio.shield(self._asking)
        return self.known()

    def known(self) -> list[registry_pb2.GatewayInstance]:
        """The other processes, as the registries last said."""
        found = {each.instance: each for said in self._said.values() for each in said}
        found.pop(self.own.instance, None)
        others = sorted(found.values(), key=lambda each: (each.name, each.pid, each.instance))
        for address in self._gateways.keys() - {each.address for each in others}:
            self._forget(address)
        return others

    def stub(self, instance: registry_pb2.GatewayInstance) -> "Stub":
        """What asks another process."""
        address = instance.address
        if address not in self._gateways:
            channel = open_channel(address, security=self._security, of=Role.GATEWAY)
            self._channels[address] = channel
            self._gateways[address] = GatewayServiceStub(channel)
        return self._gateways[address]

    async def ask(self, call: Callable[["Stub"], Awaitable[T]]) -> tuple[list[T], list[pb.Unanswered]]:
        """What the other processes answer, each within a second, and those that do not.

        Args:
            call: Makes a call, with :data:`ANSWER_S` as its timeout. An error of its own that a process
                answers (NOT_FOUND) is no answer and no silence.
        """
        others = await self.others()
        answers: list[T] = []
        unanswered = list(self.silent.values())

        for instance in others[MOST_ASKED:]:
            why = f"no more than {MOST_ASKED} are asked"
            unanswered.append(pb.Unanswered(name=instance.name, address=instance.address, why=why))

        async def ask_one(instance: registry_pb2.GatewayInstance) -> None:
            if (why := self.unreachable(instance)) is not None:
                unanswered.append(why)
                return
            try:
                answers.append(await call(self.stub(instance)))
            except grpc.aio.AioRpcError as failure:
                if failure.code() is not grpc.StatusCode.NOT_FOUND:
                    unanswered.append(unanswered_by(instance, failure))

        await asyncio.gather(*(ask_one(each) for each in others[:MOST_ASKED]))
        return answers, unanswered

    def unreachable(self, instance: registry_pb2.GatewayInstance) -> pb.Unanswered | None:
        """Why a process cannot be asked at all; None: it can."""
        host = instance.address.rpartition(":")[0]
        if instance.machine == self.own.machine or not is_loopback(host):
            return None
        why = "only its own machine can ask it; its setting gateway_peer_listen says where others can"
        return pb.Unanswered(name=instance.name, address=instance.address, why=why)

    async def _ask_registries(self) -> None:
        await asyncio.gather(*(self._ask_registry(each) for each in self._where))
        self._asked = self._clock()

    async def _ask_registry(self, registry: Address) -> None:
        try:
            self._said[registry] = await self._tell(registry)
            self.silent.pop(str(registry), None)
        except grpc.aio.AioRpcError as failure:
            if failure.code() is grpc.StatusCode.UNIMPLEMENTED:  # it is of a version before
                return
            why = f"the registry does not say who there is: {failure.code().name}"
            self.silent[str(registry)] = pb.Unanswered(name="registry", address=str(registry), why=why)

    async def _tell(
        self, registry: Address, *, leaving: bool = False
    ) -> Sequence[registry_pb2.GatewayInstance]:
        stub = self._registry(registry)
        if not self.own.address:
            asked = registry_pb2.ListGatewaysRequest()
            listed = await stub.ListGateways(asked, timeout=REGISTRY_S, metadata=self.metadata)
            return listed.gateways
        request = registry_pb2.AnnounceGatewayRequest(gateway=self.own, leaving=leaving)
        answer = await stub.AnnounceGateway(request, timeout=REGISTRY_S, metadata=self.metadata)
        if answer.HasField("renew_interval"):
            self._every = min(60.0, max(1.0, seconds(answer.renew_interval)))
        return answer.gateways

    def _registry(self, registry: Address) -> "RegistryServiceAsyncStub":
        if registry not in self._registries:
            channel = open_channel(registry, security=self._security, of=Role.REGISTRY)
            self._channels[f"registry {registry}"] = channel
            self._registries[registry] = RegistryServiceStub(channel)
        return self._registries[registry]

    def _forget(self, address: str) -> None:
        del self._gateways[address]
        closing = asyncio.ensure_future(self._channels.pop(address).close())
        _CLOSING.add(closing)
        closing.add_done_callback(_CLOSING.discard)


_CLOSING: set[asyncio.Future[Any]] = set()


def unanswered_by(instance: registry_pb2.GatewayInstance, failure: grpc.aio.AioRpcError) -> pb.Unanswered:
    """What is told of a process that did not answer."""
    why = "it does not answer"
    if failure.code() is grpc.StatusCode.DEADLINE_EXCEEDED:
        why = f"it did not answer within {ANSWER_S:g} s"
    elif failure.code() is not grpc.StatusCode.UNAVAILABLE:
        why = f"it answers {failure.code().name}"
    return pb.Unanswered(name=instance.name, address=instance.address, why=why)


def this_machine() -> str:
    """A name of the machine or container that this process runs in, for comparing only."""
    parts = [socket.gethostname()]
    with suppress(OSError):  # there is none but on Linux
        parts.append(str(os.stat("/proc/self/ns/net").st_ino))
    with suppress(OSError), open("/proc/sys/kernel/random/boot_id", encoding="ascii") as boot:
        parts.append(boot.read().strip())
    return blake2b("\n".join(parts).encode(), digest_size=8).hexdigest()
