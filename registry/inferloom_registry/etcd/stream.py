"""One stream of a member of etcd."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Generic

import grpc

from inferloom_registry.etcd.faults import EtcdError
from inferloom_registry.etcd.methods import Asked, Told

WRITE_S = 2.0
"""Seconds that sending a message may take: as long as making a connection."""


class Stream(Generic[Asked, Told]):
    """Writes and reads messages until the member ends it or is left.

    Args:
        call: The call.
        left: Done once the member is left.
    """

    def __init__(self, call: Any, left: "asyncio.Future[None]") -> None:
        self._call = call
        self._left = left
        left.add_done_callback(lambda _: call.cancel())

    async def write(self, message: Asked) -> None:
        """Send a message.

        Raises:
            EtcdError, grpc.aio.AioRpcError: As :meth:`read`.
            TimeoutError: It could not be sent within :data:`WRITE_S` seconds.
        """
        # grpc lets a write wait for ever whose call is cancelled before it had a connection.
        writing = asyncio.ensure_future(self._call.write(message))
        try:
            await asyncio.wait({writing, self._left}, timeout=WRITE_S, return_when=asyncio.FIRST_COMPLETED)
            if self._left.done():
                raise EtcdError("another member is called now")
            if not writing.done():
                raise TimeoutError
            writing.result()
        except asyncio.InvalidStateError:
            await self.read()  # it has ended, and reading says why
        finally:
            writing.cancel()

    async def read(self, timeout: float | None = None) -> Told:
        """The next message.

        Raises:
            EtcdError: The stream has ended, or its member was left.
            grpc.aio.AioRpcError: It failed.
            TimeoutError: Nothing came within ``timeout`` seconds.
        """
        with self._until_left():
            async with asyncio.timeout(timeout):
                message = await self._call.read()
        if message is grpc.aio.EOF:
            raise EtcdError("etcd ended the stream")
        return message  # type: ignore[no-any-return] # grpc's own are untyped

    @contextmanager
    def _until_left(self) -> Iterator[None]:
        """A call that is cancelled because its member was left looks to its reader as if he were."""
        try:
            yield
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if self._left.done() and not (task is not None and task.cancelling()):
                raise EtcdError("another member is called now") from None
            raise
