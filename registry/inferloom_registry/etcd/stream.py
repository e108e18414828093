"""One stream of a member of etcd."""

import asyncio
from typing import Any, Generic

import grpc

from inferloom_registry.etcd.faults import EtcdError
from inferloom_registry.etcd.methods import Asked, Told


class Stream(Generic[Asked, Told]):
    """Writes and reads messages until the member ends it or is left.

    Args:
        call: The call.
        left: Done once the member is left.
    """

    def __init__(self, call: Any, left: "asyncio.Future[None]") -> None:
        self._call = call
        self._left = left

    async def write(self, message: Asked) -> None:
        """Send a message. Raises AioRpcError or EtcdError once the stream has ended."""
        try:
            await self._call.write(message)
        except asyncio.InvalidStateError:
            await self.read()  # it has ended, and reading says why

    async def read(self, timeout: float | None = None) -> Told:
        """The next message.

        Raises:
            EtcdError: The stream has ended, or its member was left.
            grpc.aio.AioRpcError: It failed.
            TimeoutError: Nothing came within ``timeout`` seconds.
        """
        reading = asyncio.ensure_future(self._call.read())
        try:
            await asyncio.wait({reading, self._left}, timeout=timeout, return_when=asyncio.FIRST_COMPLETED)
            if not reading.done():
                if self._left.done():
                    raise EtcdError("another member is called now")
                raise TimeoutError
            message = reading.result()
        finally:
            reading.cancel()
        if message is grpc.aio.EOF:
            raise EtcdError("etcd ended the stream")
        return message  # type: ignore[no-any-return] # grpc's own are untyped
