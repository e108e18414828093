"""How the client without an event loop makes its calls, and makes them again."""

import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import suppress
from typing import Any, TypeVar

import grpc

from inferloom.client import told
from inferloom.client.course import STREAM, Course
from inferloom.client.errors import InferloomError
from inferloom.client.settings import GATEWAY, REGISTRY, WORKER
from inferloom.client.told import Told, late
from inferloom.v1 import inference_pb2 as pb
from inferloom.v1.inference_pb2_grpc import InferenceServiceStub
from inferloom.v1.registry_pb2 import ListWorkersRequest
from inferloom.v1.registry_pb2_grpc import RegistryServiceStub

T = TypeVar("T")


class SyncCalls(Told[grpc.Channel]):
    """What :class:`~inferloom.client.sync.Client` is made of."""

    _listing: "Future[InferloomError | None] | None" = None
    """What a thread finds out of the registry."""

    def close(self) -> None:
        """Hang up. Calls that other threads make fail; what they wait for is not asked again."""
        for channel in self._closing():
            channel.close()

    def generate(
        self, request: pb.GenerateRequest, resumable_s: int | None = None
    ) -> Iterator[pb.GenerateResponse]:
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
                call = self._generation(self._stub(asked.model, course), asked, course, resumable_s)
                if course.stream and (kept := dict(call.initial_metadata() or ()).get(STREAM)):
                    course.accepted(str(kept))
                for event in call:
                    yield from course.took(event)
                return
            except Exception as failure:
                wait = self._failed(asked.model, course, failure)
            finally:
                if call is not None:
                    call.cancel()
                self._left(course)
            self._closes.wait(wait)

    def _call(self, model: str, method: Callable[[Any], Any], request: Any) -> Any:
        def once(course: Course) -> Any:
            ask = method(self._stub(model, course))
            return ask(request, timeout=course.left(), metadata=self._settings.metadata)

        return self._tried(model, once)

    def _tried(self, model: str, once: Callable[[Course], T]) -> T:
        course = self._course()
        while True:
            try:
                return once(course)
            except Exception as failure:
                wait = self._failed(model, course, failure)
            finally:
                self._left(course)
            self._closes.wait(wait)

    def _stub(self, model: str, course: Course) -> InferenceServiceStub:
        course.asked = ""
        if self._directory is None:
            course.asked = self._turn.current
            return InferenceServiceStub(self._channel(GATEWAY, course.asked))
        new = self._refreshed(course)
        try:
            self._choose(model, course)
        except InferloomError:
            if new or self._directory.fresh:
                raise
            self._list(course)
            self._choose(model, course)
        return InferenceServiceStub(self._channel(WORKER, course.asked))

    def _listed_models(self, course: Course) -> list[pb.Model]:
        assert self._directory is not None
        if not self._directory.fresh:
            try:
                self._list(course)
            except InferloomError:
                if not self._directory.known:
                    raise
        with self._lock:
            return self._directory.models()

    # the registry's list

    def _refreshed(self, course: Course) -> bool:
        """See to it that there is a list, which is asked for anew behind this call now and then; whether it
        is a new one."""
        assert self._directory is not None
        with self._lock:
            known, old, due = self._directory.known, self._directory.old, self._directory.due()
        if not known:
            self._list(course)
        elif due or old:  # those that come together wait for the same one
            listing = self._ask()
            if old:
                with suppress(TimeoutError):
                    listing.result(told.MOMENT_S)
        return not known

    def _list(self, course: Course) -> None:
        """Wait for a new list. Raises InferloomError where there is none."""
        try:
            error = self._ask().result(course.left())
        except TimeoutError:
            raise late() from None
        if error is not None:
            raise error

    def _ask(self) -> "Future[InferloomError | None]":
        """The list that is being asked for, or a new one; why there is none."""
        with self._lock:
            if self._listing is None or self._listing.done():
                self._listing = Future()
                asking = threading.Thread(target=self._ask_all, args=(self._listing,), daemon=True)
                asking.start()
            return self._listing

    def _ask_all(self, listing: "Future[InferloomError | None]") -> None:
        assert self._directory is not None
        error: InferloomError | None = None
        try:
            for _ in range(len(self._turn)):
                if (error := self._ask_one()) is None:
                    return
            with self._lock:
                self._directory.unheard()
        finally:
            listing.set_result(error)

    def _ask_one(self) -> InferloomError | None:
        assert self._directory is not None
        address, metadata = self._turn.current, self._settings.metadata
        try:
            ask: Any = RegistryServiceStub(self._channel(REGISTRY, address)).ListWorkers
            listed = ask(ListWorkersRequest(), timeout=told.REGISTRY_S, metadata=metadata)
        except (grpc.RpcError, InferloomError, ValueError) as failure:  # the last: the channel was closed
            return self._unheard(address, failure)
        with self._lock:
            self._directory.hear(listed)
        return None

    def _open(self, address: str, options: Sequence[tuple[str, int | str]]) -> grpc.Channel:
        if (credentials := self._settings.credentials) is None:
            return grpc.insecure_channel(address, options=options)
        return grpc.secure_channel(address, credentials, options=options)
