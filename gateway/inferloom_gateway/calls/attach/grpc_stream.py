"""Frames on a stream of gRPC's: the method Attach."""

import asyncio
import logging
from typing import Any

import grpc

from inferloom_gateway.calls import attempt
from inferloom_gateway.calls.attach.stream import Desk
from inferloom_gateway.calls.attempt import Verdict
from inferloom_gateway.calls.judging import NOT_LET_IN, judge
from inferloom_mesh.status import read_failure

log = logging.getLogger(__name__)


class GrpcStream:
    """A :class:`~inferloom_gateway.calls.attach.stream.FrameStream` with a reader and a writer.

    Args:
        call: An Attach call.
        worker: Its address, for the log.
    """

    def __init__(self, call: "grpc.aio.StreamStreamCall[Any, Any]", worker: str) -> None:
        self._call = call
        self._worker = worker
        self._wake = asyncio.Event()
        self._heard = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []

    def start(self, desk: Desk) -> None:
        """See the protocol; so are the others."""
        self._tasks = [asyncio.create_task(self._read(desk)), asyncio.create_task(self._write(desk))]

    def wake(self) -> None:
        """There is something to send."""
        self._wake.set()

    def hurry(self) -> None:
        """The same: what is sent is sent by the writer."""
        self._wake.set()

    def cancel(self) -> None:
        """End it."""
        self._call.cancel()

    async def ended(self) -> None:
        """Wait for the reader and the writer."""
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _read(self, desk: Desk) -> None:
        verdict, refused = attempt.lost(), False
        try:
            if (end := await self._take_all(desk)) is not None:
                refused = end.code() is grpc.StatusCode.UNIMPLEMENTED and not desk.heard
                verdict = _judged(end, heard=desk.heard)
                if desk.heard:
                    log.info("the link to the worker at %s ended: %s", self._worker, end.code().name)
        except asyncio.CancelledError:
            pass  # closed here
        except Exception as failure:
            verdict = desk.fault(failure)
        finally:
            self._call.cancel()
            self._tasks[1].cancel()
            desk.end(verdict, refused=refused)

    async def _take_all(self, desk: Desk) -> grpc.aio.AioRpcError | None:
        """Give the desk all frames; return what the stream ended with. None: nothing in particular."""
        try:
            while True:
                frame: Any = await self._call.read()
                if frame is grpc.aio.EOF:
                    return None
                desk.take(frame)
                self._heard.set()
        except grpc.aio.AioRpcError as failure:
            return failure

    async def _write(self, desk: Desk) -> None:
        try:
            # A worker that takes the stream speaks first. Where something was being sent when it refused, the
            # call would have INTERNAL for good, which is grpc.aio's own, and hide why. What it says first is
            # a frame: metadata comes with a refusal too.
            await self._heard.wait()
            while True:
                await self._wake.wait()
                self._wake.clear()
                # Whoever is in a frame that was made counts as sent.
                while not self._call.done() and (frame := desk.next()) is not None:
                    await self._call.write(frame)
        except (grpc.aio.AioRpcError, asyncio.InvalidStateError):
            pass  # the reader tells what became of the stream
        except Exception:  # a bug: a stream that is not written to must end, so that there is another
            log.exception("the link to the worker at %s cannot be written to", self._worker)
            self._call.cancel()


def _judged(end: grpc.aio.AioRpcError, *, heard: bool) -> Verdict:
    """What the end of the stream means for its calls: the worker is lost, but for one that has ended the
    stream itself, in its own words."""
    read = read_failure(end)
    if read.code in NOT_LET_IN and not heard:
        return judge(read)
    return attempt.cut() if read.ours else attempt.lost()
