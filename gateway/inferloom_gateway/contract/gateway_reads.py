"""What gateways know, through the contract."""

from collections.abc import AsyncIterator, Awaitable, Callable
from types import TracebackType
from typing import Any, Self

from inferloom.v1 import gateway_pb2 as pb
from inferloom_gateway.contract.method import Method, methods_of
from inferloom_gateway.contract.service import NO_HEADERS, Call, Caller, Events
from inferloom_gateway.picture.view import View

SERVICE = pb.DESCRIPTOR.services_by_name["GatewayService"]


class GatewayReads:
    """``GatewayService``. Who may call it was asked before."""

    methods = methods_of(SERVICE)

    def __init__(self, view: View) -> None:
        self._view = view

    def begin(self, method: Method, request: Any, caller: Caller) -> Call:
        """Begin a call."""
        answers: dict[str, Callable[[Any], Awaitable[Any]]] = {
            "GetMesh": self._mesh,
            "ListRequests": self._view.list_requests,
            "GetRequest": self._view.get_request,
        }
        if method.name in answers:
            return _Reading(answers[method.name](request))
        return _Reading(meshes=self._view.watch(only_here=request.only_here))

    async def _mesh(self, request: pb.GetMeshRequest) -> pb.GetMeshResponse:
        return pb.GetMeshResponse(mesh=await self._view.mesh(only_here=request.only_here))


class _Reading:
    """A call that is no request to workers: it gives one answer, or meshes."""

    record = None
    headers = NO_HEADERS

    def __init__(
        self, answer: Awaitable[Any] | None = None, meshes: AsyncIterator[pb.Mesh] | None = None
    ) -> None:
        self._answer = answer
        self._meshes = meshes

    async def answer(self) -> Any:
        assert self._answer is not None, "the method has one answer"
        return await self._answer

    async def events(self) -> Events:
        return self

    async def read(self) -> pb.WatchMeshResponse | None:
        """The next picture; None after the last."""
        assert self._meshes is not None, "the method streams"
        mesh = await anext(self._meshes, None)
        return None if mesh is None else pb.WatchMeshResponse(mesh=mesh)

    def close(self) -> None:
        """Nothing runs between two reads."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        pass
