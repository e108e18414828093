"""The pictures of the other processes, followed for as long as somebody watches."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import grpc

from inferloom.v1 import gateway_pb2 as pb
from inferloom.v1 import registry_pb2
from inferloom_gateway.picture.peers import ANSWER_S, MOST_ASKED, Peers, unanswered_by

AGAIN_S = 1.0
"""Time between two looks at who there is, and between two tries to follow one that was lost."""


@dataclass(slots=True)
class _Heard:
    """What was heard since the first of those came who watch now."""

    until: float
    """How long the first words are waited for, in the loop's seconds."""
    told: dict[str, pb.Mesh] = field(default_factory=dict)
    lost: dict[str, pb.Unanswered] = field(default_factory=dict)


class Following:
    """What the others last said.

    Args:
        peers: They.
    """

    def __init__(self, peers: Peers) -> None:
        self._peers = peers
        self._watchers = 0
        self._running: asyncio.Task[None] | None = None
        self._heard = _Heard(0.0)
        self.revision = 0
        """Rises with each change."""

    def meshes(self) -> list[pb.Mesh]:
        """What the others last said, those that can be asked."""
        return list(self._heard.told.values())

    def unanswered(self) -> list[pb.Unanswered]:
        """Those that cannot."""
        return [*self._peers.silent.values(), *self._heard.lost.values()]

    @asynccontextmanager
    async def watched(self) -> AsyncIterator[None]:
        """Follow all others until the last such block ends; each is heard, or given up, when it begins."""
        self._watchers += 1
        try:
            if self._running is None or self._running.done():
                heard = self._begin()
                self._running = asyncio.create_task(self._run(heard), name="following gateways")
            await self._first_heard()
            yield
        finally:
            self._watchers -= 1
            if not self._watchers:
                running, self._running = self._running, None
                self._begin()
                if running is not None:
                    running.cancel()
                    await asyncio.gather(running, return_exceptions=True)

    def _begin(self) -> _Heard:
        """Forget what was heard: those who still follow for others note it elsewhere."""
        self._heard = _Heard(asyncio.get_running_loop().time() + ANSWER_S)
        self.revision += 1
        return self._heard

    async def _first_heard(self) -> None:
        """Wait for the first words of all, not for long."""
        time, here = asyncio.get_running_loop().time, self._heard
        if time() < here.until:
            await self._peers.others()
        while time() < here.until:
            heard = here.told.keys() | here.lost.keys()
            if all(each.instance in heard for each in self._peers.known()[:MOST_ASKED]):
                return
            await asyncio.sleep(0.02)

    async def _run(self, heard: _Heard) -> None:
        followed: dict[str, asyncio.Task[None]] = {}
        try:
            while True:
                others = {each.instance: each for each in (await self._peers.others())[:MOST_ASKED]}
                for name in followed.keys() - others.keys():
                    followed.pop(name).cancel()
                    heard.told.pop(name, None)
                    heard.lost.pop(name, None)
                    self.revision += 1
                for name, instance in others.items():
                    if name not in followed or followed[name].done():
                        followed[name] = asyncio.create_task(self._follow(instance, heard))
                await asyncio.sleep(AGAIN_S)
        finally:
            for task in followed.values():
                task.cancel()
            await asyncio.gather(*followed.values(), return_exceptions=True)

    async def _follow(self, instance: registry_pb2.GatewayInstance, heard: _Heard) -> None:
        """Follow one until it is lost."""
        name = instance.instance
        if (never := self._peers.unreachable(instance)) is not None:
            self._note(heard, name, never)
            return
        request = pb.WatchMeshRequest(only_here=True)
        call = self._peers.stub(instance).WatchMesh(request, metadata=self._peers.metadata)
        try:
            async for answer in call:
                heard.told[name] = answer.mesh
                heard.lost.pop(name, None)
                self.revision += 1
            why = pb.Unanswered(name=instance.name, address=instance.address, why="it stops")
        except grpc.aio.AioRpcError as failure:
            why = unanswered_by(instance, failure)
        finally:
            call.cancel()
        self._note(heard, name, why)

    def _note(self, heard: _Heard, name: str, lost: pb.Unanswered) -> None:
        if heard.told.pop(name, None) is not None or heard.lost.get(name) != lost:
            heard.lost[name] = lost
            self.revision += 1
