"""A call that streams from a worker, event by event."""

from types import TracebackType
from typing import Any, Generic, Self, TypeVar

import grpc

from inferloom.v1.inference_pb2 import EmbedResponse, GenerateResponse
from inferloom_gateway.calls.attempt import judge, worker_lost
from inferloom_gateway.calls.in_flight import Ledger
from inferloom_gateway.fleet.members import Member

Event = TypeVar("Event", GenerateResponse, EmbedResponse)


class Stream(Generic[Event]):
    """One Generate or Embed call, entered in the ledger by its maker and left there by its close.

    Closing it aborts the call; closing it again, or after its end, does nothing. Use it as a context
    manager, so that every way out of the block closes it.
    """

    def __init__(self, call: "grpc.aio.UnaryStreamCall[Any, Event]", member: Member, ledger: Ledger) -> None:
        self._call: grpc.aio.UnaryStreamCall[Any, Event] = call
        self._member = member
        self._ledger = ledger
        self._ahead: Event | None = None
        self._completed = False
        self._open = True

    @property
    def worker_id(self) -> str:
        """The worker that answers."""
        return self._member.id

    async def accepted(self) -> None:
        """Wait for the first event, and hold it for the first read.

        Raises:
            AioRpcError: The worker refused the request or was lost.
        """
        event: Any = await self._call.read()
        if event is not grpc.aio.EOF:
            self._ahead = event

    async def read(self) -> Event | None:
        """Return the next event; None after the last.

        Raises:
            InferloomError: The call failed, or its worker was lost, before it completed.
        """
        if self._ahead is not None:
            ahead, self._ahead = self._ahead, None
            return ahead
        try:
            event: Any = await self._call.read()
        except grpc.aio.AioRpcError as failure:
            verdict = judge(failure)
            self._ledger.bad(self._member, verdict)
            raise verdict.error from failure
        if event is not grpc.aio.EOF:
            self._completed = event.HasField("completed")
            return event  # type: ignore[no-any-return] # grpc's stub says Any
        if not self._completed:
            raise worker_lost()
        return None

    def close(self) -> None:
        """End the call if it still runs."""
        if self._open:
            self._open = False
            self._ledger.leave(self._member)
            self._call.cancel()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
