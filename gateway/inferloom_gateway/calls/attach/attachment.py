"""One stream to a worker, with a reader and a writer."""

import asyncio
import logging
from collections.abc import Callable
from typing import Any

import grpc

from inferloom.v1 import link_pb2
from inferloom_gateway.calls import attempt
from inferloom_gateway.calls.attach.broken import BrokenFrameError
from inferloom_gateway.calls.attach.demultiplexer import Demultiplexer, LoadListener
from inferloom_gateway.calls.attach.link_call import LinkCall
from inferloom_gateway.calls.attach.outgoing import Outgoing
from inferloom_gateway.calls.attempt import Verdict
from inferloom_gateway.calls.gathering import Gathering
from inferloom_gateway.calls.judging import judge
from inferloom_mesh.status import read_failure

log = logging.getLogger(__name__)

_REFUSED = (grpc.StatusCode.UNAUTHENTICATED, grpc.StatusCode.PERMISSION_DENIED)
"""Codes of a worker that does not want this gateway. Whatever else a stream ends with, the worker is lost."""


class Attachment:
    """The stream, and the calls on it, which end with it.

    Args:
        stream: An Attach call.
        worker: Its address, for the log.
        on_load: Is told of the worker's load.
        on_end: Is told that the stream has ended, before its calls are.
        gathering: Runs while a frame is taken in.
    """

    def __init__(
        self,
        stream: "grpc.aio.StreamStreamCall[Any, Any]",
        worker: str,
        on_load: LoadListener,
        on_end: Callable[["Attachment"], None],
        gathering: Gathering,
    ) -> None:
        self.refused = False
        """Whether the worker turned out to have no such streams."""
        self.heard = False
        """Whether the worker has answered."""
        self._stream = stream
        self._worker = worker
        self._on_end = on_end
        self._gathering = gathering
        self._demultiplexer = Demultiplexer(on_load)
        self._outgoing = Outgoing()
        self._owing: dict[int, LinkCall] = {}
        self._wake = asyncio.Event()
        self._idle = asyncio.Event()
        self._idle.set()
        self._reading = asyncio.create_task(self._read())
        self._writing = asyncio.create_task(self._write())

    def number(self) -> int:
        """A number for the next call."""
        return self._demultiplexer.number()

    def start(self, call: LinkCall, start: link_pb2.StartCall) -> None:
        """Begin a call."""
        self._demultiplexer.calls[call.number] = call
        self._idle.clear()
        self._outgoing.start(start)
        self._wake.set()

    def credit(self, call: int, events: int, size: int) -> None:
        """Let the worker send more of a call."""
        self._outgoing.credit(call, events, size)
        self._wake.set()

    def owe(self, call: LinkCall) -> None:
        """Note that a call has spent a little."""
        self._owing[call.number] = call

    def settle(self) -> None:
        """Give back what was spent by all that have been noted."""
        owing, self._owing = self._owing, {}
        for call in owing.values():
            call.give_back()

    def leave(self, call: int, *, cancel: bool) -> None:
        """Forget a call; ``cancel``: which the worker is to end."""
        self._demultiplexer.forget(call)
        self._owing.pop(call, None)
        if not self._demultiplexer.calls:
            self._idle.set()
        if cancel:
            self._outgoing.cancel(call)
            self._wake.set()

    async def close(self, grace_s: float | None) -> None:
        """End the stream once its calls are over, after ``grace_s`` at the latest; None: at once."""
        if grace_s is not None:
            try:
                async with asyncio.timeout(grace_s):
                    await self._idle.wait()
            except TimeoutError:
                pass
        self._stream.cancel()
        await asyncio.gather(self._reading, self._writing, return_exceptions=True)

    async def _read(self) -> None:
        verdict = attempt.lost()
        try:
            while True:
                frame: Any = await self._stream.read()
                if frame is grpc.aio.EOF:
                    break
                self.heard = True
                with self._gathering:
                    self._demultiplexer.take(frame)
        except grpc.aio.AioRpcError as failure:
            self.refused = failure.code() is grpc.StatusCode.UNIMPLEMENTED and not self.heard
            if not self.heard and failure.code() in _REFUSED:
                verdict = judge(read_failure(failure))
            if self.heard:
                log.info("the link to the worker at %s ended: %s", self._worker, failure.code().name)
        except BrokenFrameError as fault:
            log.error("the worker at %s broke the rules of the link: %s", self._worker, fault)
            verdict = attempt.broken()
        except asyncio.CancelledError:
            pass  # closed here
        except Exception:  # a bug: its calls must end, or their callers wait for ever
            log.exception("the link to the worker at %s failed", self._worker)
            verdict = attempt.bug()
        finally:
            self._end(verdict)

    def _end(self, verdict: Verdict) -> None:
        self._stream.cancel()
        self._writing.cancel()
        self._on_end(self)
        for call in tuple(self._demultiplexer.calls.values()):
            if not (self.refused and call.move()):
                call.end(verdict)

    async def _write(self) -> None:
        try:
            # A write to a stream that its worker has refused would hide why.
            await self._stream.wait_for_connection()
            while True:
                await self._wake.wait()
                self._wake.clear()
                while (frame := self._outgoing.next()) is not None:
                    await self._stream.write(frame)
        except (grpc.aio.AioRpcError, asyncio.InvalidStateError):
            pass  # the reader tells what became of the stream
        except Exception:  # a bug: a stream that is not written to must end, so that there is another
            log.exception("the link to the worker at %s cannot be written to", self._worker)
            self._stream.cancel()
