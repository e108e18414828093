"""How the client for programs with an event loop makes its calls, and makes them again."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import suppress
from typing import Any, TypeVar

import grpc

from inferloom.client import told
from inferloom.client.course import STREAM, Course
from inferloom.client.errors import InferloomError, closed
from inferloom.client.settings import GATEWAY, REGISTRY, WORKER
from inferloom.client.told import Told, late
from inferloom.v1 import inference_pb2 as pb
from inferloom.v1.inference_pb2_grpc import InferenceServiceStub
from inferloom.v1.registry_pb2 import ListWorkersRequest
from inferloom.v1.registry_pb2_grpc import RegistryServiceStub

T = TypeVar("T")


class AsyncCalls(Told[grpc.aio.Channel]):
    """What :class:`~inferloom.client.aio.AsyncClient` is made of."""

    _listing: "asyncio.Task[InferloomError | None] | None" = None
    """Finds out of the registry who is there."""
    _waker: asyncio.Event | None = None
    """Ends the waits between tries. None: nobody has waited."""

    async def close(self) -> None:
        """Hang up. Calls that other tasks make fail; what they wait for is not asked again."""
        channels = self._closing()
        if self._waker is not None:
            self._waker.set()
        for channel in channels:
            await channel.close()
        if self._listing is not None:
            await asyncio.wait((self._listing,))

    async def generate(
        self, request: pb.GenerateRequest, resumable_s: int | None = None
    ) -> AsyncIterator[pb.GenerateResponse]:
        """The events of a request of the contract.

        Args:
            request: What is asked for.
            resumable_s: The stream outlives a lost connection for so many seconds at the mesh, and is gone on
                with at any gateway that shares the store. None: a connection that is lost after the first
                text ends it. It needs a gateway: workers keep no streams.

        Raises:
            InferloomError: The request failed.
        """
        asked = pb.GenerateRequest()
        asked.CopyFrom(request)
        course = self._course(asked, resumable_s)
        while True:
            call: Any = None
            try:
                call = self._generation(await self._stub(asked.model, course), asked, course, resumable_s)
                if course.stream and (kept := dict(await call.initial_metadata() or ()).get(STREAM)):
                    course.accepted(str(kept))
                async for event in call:
                    for each in course.took(event):
                        yield each
                return
            except (Exception, asyncio.CancelledError) as failure:
                wait = self._failed(asked.model, course, self._own(failure))
            finally:
                if call is not None:
                    call.cancel()
                self._left(course)
            await self._pause(wait)

    async def _call(self, model: str, method: Callable[[Any], Any], request: Any) -> Any:
        async def once(course: Course) -> Any:
            ask = method(await self._stub(model, course))
            return await ask(request, timeout=course.left(), metadata=self._settings.metadata)

        return await self._tried(model, once)

    async def _tried(self, model: str, once: Callable[[Course], Awaitable[T]]) -> T:
        course = self._course()
        while True:
            try:
                return await once(course)
            except (Exception, asyncio.CancelledError) as failure:
                wait = self._failed(model, course, self._own(failure))
            finally:
                self._left(course)
            await self._pause(wait)

    def _own(self, failure: Exception | asyncio.CancelledError) -> Exception:
        """How a call failed. Those of a channel that is closed are cancelled, as if their task were.

        Raises:
            CancelledError: It is.
        """
        if not isinstance(failure, asyncio.CancelledError):
            return failure
        task = asyncio.current_task()
        if not self._closes.is_set() or task is None or task.cancelling():
            raise failure
        return closed()

    async def _pause(self, seconds: float) -> None:
        if self._waker is None:
            self._waker = asyncio.Event()
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._waker.wait()

    async def _stub(self, model: str, course: Course) -> InferenceServiceStub:
        course.asked = ""
        if self._directory is None:
            course.asked = self._turn.current
            return InferenceServiceStub(self._channel(GATEWAY, course.asked))
        new = await self._refreshed(course)
        try:
            self._choose(model, course)
        except InferloomError:
            if new or self._directory.fresh:
                raise
            await self._list(course)
            self._choose(model, course)
        return InferenceServiceStub(self._channel(WORKER, course.asked))

    async def _listed_models(self, course: Course) -> list[pb.Model]:
        assert self._directory is not None
        if not self._directory.fresh:
            try:
                await self._list(course)
            except InferloomError:
                if not self._directory.known:
                    raise
        return self._directory.models()

    # the registry's list

    async def _refreshed(self, course: Course) -> bool:
        """See to it that there is a list, which is asked for anew behind this call now and then; whether it
        is a new one."""
        assert self._directory is not None
        known, old, due = self._directory.known, self._directory.old, self._directory.due()
        if not known:
            await self._list(course)
        elif due or old:  # those that come together wait for the same one
            listing = self._ask()
            if old:
                await asyncio.wait((listing,), timeout=told.MOMENT_S)
        return not known

    async def _list(self, course: Course) -> None:
        """Wait for a new list. Raises InferloomError where there is none."""
        listing = self._ask()
        await asyncio.wait((listing,), timeout=course.left())
        if not listing.done():
            raise late()
        if (error := listing.result()) is not None:
            raise error

    def _ask(self) -> "asyncio.Task[InferloomError | None]":
        """The list that is being asked for, or a new one; why there is none."""
        if self._listing is None or self._listing.done():
            self._listing = asyncio.create_task(self._ask_all(), name="inferloom registry")
        return self._listing

    async def _ask_all(self) -> InferloomError | None:
        assert self._directory is not None
        error: InferloomError | None = None
        for _ in range(len(self._turn)):
            if (error := await self._ask_one()) is None:
                return None
        self._directory.unheard()
        return error

    async def _ask_one(self) -> InferloomError | None:
        assert self._directory is not None
        address, metadata = self._turn.current, self._settings.metadata
        try:
            ask: Any = RegistryServiceStub(self._channel(REGISTRY, address)).ListWorkers
            listed = await ask(ListWorkersRequest(), timeout=told.REGISTRY_S, metadata=metadata)
        except (grpc.RpcError, InferloomError, asyncio.CancelledError) as failure:
            return self._unheard(address, self._own(failure))
        self._directory.hear(listed)
        return None

    def _open(self, address: str, options: Sequence[tuple[str, int | str]]) -> grpc.aio.Channel:
        if (credentials := self._settings.credentials) is None:
            return grpc.aio.insecure_channel(address, options=options)
        return grpc.aio.secure_channel(address, credentials, options=options)
