"""What gateways know, through the contract."""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from functools import partial
from typing import Any

from inferloom.v1 import gateway_pb2 as pb
from inferloom_gateway.access.identity import Identity
from inferloom_gateway.contract.method import Method, methods_of
from inferloom_gateway.contract.service import NO_HEADERS, Call, Caller, Events
from inferloom_gateway.picture.view import View
from inferloom_mesh.closing import Closing

SERVICE = pb.DESCRIPTOR.services_by_name["GatewayService"]


class GatewayReads:
    """``GatewayService``. Who may call it was asked before.

    Args:
        view: What is told.
        check: Told who watches before each picture; raises InferloomError for who may not any more.
    """

    methods = methods_of(SERVICE)

    def __init__(self, view: View, check: Callable[[Identity], None] = lambda who: None) -> None:
        self._view = view
        self._check = check

    def begin(self, method: Method, request: Any, caller: Caller) -> Call:
        """Begin a call."""
        answers: dict[str, Callable[[Any], Awaitable[Any]]] = {
            "GetMesh": self._mesh,
            "ListRequests": self._view.list_requests,
            "GetRequest": self._view.get_request,
        }
        if method.name in answers:
            return _Reading(partial(answers[method.name], request))
        meshes = self._view.watch(only_here=request.only_here)
        return _Reading(meshes=meshes, check=partial(self._check, caller.identity))

    async def _mesh(self, request: pb.GetMeshRequest) -> pb.GetMeshResponse:
        return pb.GetMeshResponse(mesh=await self._view.mesh(only_here=request.only_here))


class _Reading(Closing):
    """A call that is no request to workers: it gives one answer, or meshes."""

    record = None
    headers = NO_HEADERS

    def __init__(
        self,
        answer: Callable[[], Awaitable[Any]] | None = None,
        meshes: AsyncGenerator[pb.Mesh, None] | None = None,
        check: Callable[[], None] = lambda: None,
    ) -> None:
        self._answer = answer
        self._check = check
        self._meshes = meshes
        self._reads = False
        self._closed = False

    async def answer(self) -> Any:
        assert self._answer is not None, "the method has one answer"
        return await self._answer()

    async def events(self) -> Events:
        return self

    async def read(self) -> pb.WatchMeshResponse | None:
        """The next picture; None after the last.

        Raises:
            InferloomError: Who watches may not any more.
        """
        assert self._meshes is not None, "the method streams"
        if self._closed:
            return None
        self._reads = True
        try:
            mesh = await anext(self._meshes, None)
        finally:
            self._reads = False
            if self._closed:
                _end(self._meshes)
        if mesh is None:
            return None
        self._check()
        return pb.WatchMeshResponse(mesh=mesh)

    def close(self) -> None:
        """End the watch: also between two reads it holds a place, and others are followed for it. A read that
        is under way ends it behind itself."""
        closed, self._closed = self._closed, True
        if self._meshes is not None and not (closed or self._reads):
            _end(self._meshes)


_ENDING: set[asyncio.Task[None]] = set()


def _end(meshes: AsyncGenerator[pb.Mesh, None]) -> None:
    async def end() -> None:
        await meshes.aclose()

    ending = asyncio.create_task(end())
    _ENDING.add(ending)
    ending.add_done_callback(_ENDING.discard)
