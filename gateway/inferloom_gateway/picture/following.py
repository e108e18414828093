"""The pictures of the other processes, followed for as long as somebody watches."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import grpc

from inferloom.v1 import gateway_pb2 as pb
from inferloom.v1 import registry_pb2
from inferloom_gateway.picture.peers import ANSWER_S, MOST_ASKED, Peers, unanswered_by

AGAIN_S = 1.0
"""Time between two looks at who there is, and between two tries to follow one that was lost."""


class Following:
    """What the others last said.

    Args:
        peers: They.
    """

    def __init__(self, peers: Peers) -> None:
        self._peers = peers
        self._watchers = 0
        self._running: asyncio.Task[None] | None = None
        self._told: dict[str, pb.Mesh] = {}
        self._lost: dict[str, pb.Unanswered] = {}
        self.revision = 0
        """Rises with each change."""

    def meshes(self) -> list[pb.Mesh]:
        """What the others last said, those that can be asked."""
        return list(self._told.values())

    def unanswered(self) -> list[pb.Unanswered]:
        """Those that cannot."""
        return [*self._peers.silent.values(), *self._lost.values()]

    @asynccontextmanager
    async def watched(self) -> AsyncIterator[None]:
        """Follow all others until the last such block ends; each is heard, or given up, when it begins."""
        self._watchers += 1
        if self._running is None:
            await self._peers.others()
            self._running = asyncio.create_task(self._run(), name="following gateways")
            await self._first_heard()
        try:
            yield
        finally:
            self._watchers -= 1
            if not self._watchers:
                running, self._running = self._running, None
                if running is not None:
                    running.cancel()
                    await asyncio.gather(running, return_exceptions=True)
                self._told.clear()
                self._lost.clear()

    async def _first_heard(self) -> None:
        """Wait for the first words of all, not for long."""
        until = asyncio.get_running_loop().time() + ANSWER_S
        while asyncio.get_running_loop().time() < until:
            heard = self._told.keys() | self._lost.keys()
            if all(each.instance in heard for each in self._peers.known()[:MOST_ASKED]):
                return
            await asyncio.sleep(0.02)

    async def _run(self) -> None:
        followed: dict[str, asyncio.Task[None]] = {}
        try:
            while True:
                others = {each.instance: each for each in (await self._peers.others())[:MOST_ASKED]}
                for name in followed.keys() - others.keys():
                    followed.pop(name).cancel()
                    self._told.pop(name, None)
                    self._lost.pop(name, None)
                    self.revision += 1
                for name, instance in others.items():
                    if name not in followed or followed[name].done():
                        followed[name] = asyncio.create_task(self._follow(instance))
                await asyncio.sleep(AGAIN_S)
        finally:
            for task in followed.values():
                task.cancel()
            await asyncio.gather(*followed.values(), return_exceptions=True)

    async def _follow(self, instance: registry_pb2.GatewayInstance) -> None:
        """Follow one until it is lost."""
        name = instance.instance
        if (never := self._peers.unreachable(instance)) is not None:
            self._note(name, never)
            return
        request = pb.WatchMeshRequest(only_here=True)
        call = self._peers.stub(instance).WatchMesh(request, metadata=self._peers.metadata)
        try:
            async for answer in call:
                self._told[name] = answer.mesh
                self._lost.pop(name, None)
                self.revision += 1
            why = pb.Unanswered(name=instance.name, address=instance.address, why="it stops")
        except grpc.aio.AioRpcError as failure:
            why = unanswered_by(instance, failure)
        finally:
            call.cancel()
        self._note(name, why)

    def _note(self, name: str, lost: pb.Unanswered) -> None:
        if self._told.pop(name, None) is not None or self._lost.get(name) != lost:
            self._lost[name] = lost
            self.revision += 1
