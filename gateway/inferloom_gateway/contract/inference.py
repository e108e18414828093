"""The inference service in front of all workers."""

import re
from collections.abc import Awaitable, Callable
from types import TracebackType
from typing import Any, Self

from inferloom.v1 import inference_pb2 as pb
from inferloom_gateway.calls.call_group import CallGroup
from inferloom_gateway.contract.known import Known
from inferloom_gateway.contract.method import Method, methods_of
from inferloom_gateway.contract.resumable import Continued, Resumable
from inferloom_gateway.contract.service import NO_HEADERS, Call, Caller, Events
from inferloom_gateway.gateway import Gateway
from inferloom_gateway.streams.asking import resumable_s
from inferloom_gateway.streams.desk import StreamDesk
from inferloom_gateway.streams.follower import Reader
from inferloom_mesh.context import CallContext
from inferloom_mesh.request_id import new_request_id

_CAPITAL = re.compile("(?<=.)(?=[A-Z])")

SERVICE = pb.DESCRIPTOR.services_by_name["InferenceService"]


class Inference:
    """``InferenceService``: each call is routed to a worker. Errors leave as the worker raised them.

    Args:
        gateway: Routes them.
        desk: Has the streams that outlive their calls.
    """

    methods = methods_of(SERVICE)

    def __init__(self, gateway: Gateway, desk: StreamDesk) -> None:
        self._gateway = gateway
        self._desk = desk

    def begin(self, method: Method, request: Any, caller: Caller) -> Call:
        """Begin a call; a request that can have a name and has none gets one.

        Raises:
            InferloomError: The caller may not make it.
        """
        if method.name == "ListModels":
            return Known(lambda: self._models(caller))
        if method.name == "Generate":  # what it is asked for says which endpoint's counterpart it is
            chats = request.WhichOneof("input") == "chat"
            caller.identity.check_endpoint("chat" if chats else "completions")
        name = caller.request_id or new_request_id()
        if method.name == "ContinueGenerate":
            reader = Reader(caller.identity, self._context(name, caller), caller.time_left)
            return Continued(self._desk, reader, request)
        resumable = None
        if method.name == "Generate" and caller.resumable is not None:
            self._desk.check()
            resumable = resumable_s(caller.resumable)
        admission = self._gateway.admission(caller.identity, request.model)
        if "request_id" in method.request.DESCRIPTOR.fields_by_name:
            name = request.request_id = request.request_id or name
        context = self._context(name, caller)
        kind = _CAPITAL.sub("_", method.name).lower()
        group = self._gateway.dispatcher.group(context, kind.removeprefix("get_"), request.model, admission)
        if resumable is not None:
            reader = Reader(caller.identity, context)
            return Resumable(self._desk, reader, group, request, resumable, caller.time_left)
        return _Routed(group, kind, request)

    def _context(self, name: str, caller: Caller) -> CallContext:
        trace = caller.trace
        return CallContext(
            name,
            self._gateway.deadline(caller.time_left),
            caller=caller.address,
            tenant=caller.identity.tenant,
            share=caller.identity.share,
            traceparent="" if trace is None else trace.parent,
            tracestate="" if trace is None else trace.state,
        )

    def _models(self, caller: Caller) -> pb.ListModelsResponse:
        """The models that the caller may use."""
        served = self._gateway.fleet.models()
        return pb.ListModelsResponse(models=[each for each in served if caller.identity.may_use(each.id)])


class _Routed:
    """A call that workers answer, by the method of a call group that is named like the contract's."""

    headers = NO_HEADERS

    def __init__(self, calls: CallGroup, kind: str, request: Any) -> None:
        self.record = calls.record
        self._calls = calls
        self._ask: Callable[[Any], Awaitable[Any]] = getattr(calls, kind)
        self._request = request

    async def answer(self) -> Any:
        return await self._ask(self._request)

    async def events(self) -> Events:
        stream: Events = await self._ask(self._request)
        return stream

    def close(self) -> None:
        self._calls.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._calls.close(error)
