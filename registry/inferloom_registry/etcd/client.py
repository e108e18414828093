"""Calls of an etcd cluster: one member at a time, another when that one fails."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any

import grpc

from inferloom.etcd import etcd_pb2 as pb
from inferloom_mesh.net import Address
from inferloom_registry.etcd.access import EtcdAccess
from inferloom_registry.etcd.faults import EtcdError, better_elsewhere, told, wants_login
from inferloom_registry.etcd.methods import LOGIN, Asked, Method, Told
from inferloom_registry.etcd.stream import Stream

TRY_S = 1.0
"""Seconds that one member may take to answer."""

CALL_S = 3.0
"""Seconds that a call may take over all members: an election takes about two."""

OPTIONS: tuple[tuple[str, int], ...] = (
    ("grpc.max_receive_message_length", -1),  # a page of registrations; it is bounded by what we ask for
    # A member that hangs under a stream that waits is noticed within 12 s. Etcd permits a ping each 5 s, and
    # only while there are calls.
    ("grpc.keepalive_time_ms", 8_000),
    ("grpc.keepalive_timeout_ms", 4_000),
    ("grpc.http2.ping_timeout_ms", 4_000),
    ("grpc.http2.max_pings_without_data", 0),
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.min_reconnect_backoff_ms", 2_000),
    ("grpc.max_reconnect_backoff_ms", 1_000),
    ("grpc.enable_http_proxy", 0),
    ("grpc.enable_retries", 0),
    ("grpc.use_local_subchannel_pool", 1),
)


class EtcdClient:
    """Calls etcd. All calls and streams use one member; when it fails one of them, they all go to the next.

    Args:
        endpoints: The members' client addresses.
        access: Certificates and login.
        clock: Seconds, monotonic.
    """

    def __init__(
        self,
        endpoints: Sequence[Address],
        access: EtcdAccess | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._endpoints = endpoints
        self._access = access or EtcdAccess()
        self._clock = clock
        self._channels: dict[int, grpc.aio.Channel] = {}
        self._at = 0
        self._left: asyncio.Future[None] | None = None
        self._token = ""
        self._login = asyncio.Lock()

    @property
    def member(self) -> Address:
        """The member that is called now."""
        return self._endpoints[self._at]

    async def call(self, method: Method[Asked, Told], request: Asked, timeout: float = CALL_S) -> Told:
        """Call a method. It may have been carried out even if this raises, and be carried out twice.

        Raises:
            EtcdError: No member did it within ``timeout`` seconds, or etcd refuses.
        """
        until = self._clock() + timeout
        last: EtcdError = EtcdError(f"etcd did not answer within {timeout:g} s")
        logged_in = False
        tries = 0
        while (left := until - self._clock()) > 0 and tries <= len(self._endpoints):
            at = self._at
            try:
                return await self._once(method, request, min(TRY_S, left))
            except grpc.aio.AioRpcError as failure:
                last = told(failure)
                if wants_login(failure) and not logged_in:
                    self._token, logged_in = "", True
                    continue
                if not better_elsewhere(failure):
                    raise last from failure
                tries += 1
                self.leave(at)
        raise last

    @asynccontextmanager
    async def stream(self, method: Method[Asked, Told]) -> AsyncIterator[Stream[Asked, Told]]:
        """Open a stream on the member that is called now. It fails when that one is left.

        Raises:
            EtcdError: The member fails.
        """
        at = self._at
        try:
            metadata = (*await self._credentials(TRY_S), ("hasleader", "true"))
        except grpc.aio.AioRpcError as failure:
            self.leave(at)
            raise told(failure) from failure
        make: Any = self._channel().stream_stream
        call = make(method.path, method.request.SerializeToString, method.response.FromString)(
            metadata=metadata
        )
        if self._left is None:
            self._left = asyncio.get_running_loop().create_future()
        try:
            yield Stream(call, self._left)
        except grpc.aio.AioRpcError as failure:
            if wants_login(failure):
                self._token = ""
            elif better_elsewhere(failure):
                self.leave(at)
            raise told(failure) from failure
        except TimeoutError as failure:
            self.leave(at)
            raise EtcdError("etcd did not answer on a stream") from failure
        finally:
            call.cancel()

    def forget_login(self) -> None:
        """Log in anew before the next call."""
        self._token = ""

    def leave(self, at: int | None = None) -> None:
        """Call another member from now on, if the one at ``at`` still is the one that is called."""
        if at in (None, self._at):
            self._at = (self._at + 1) % len(self._endpoints)
            if self._left is not None:
                self._left.set_result(None)
                self._left = None

    async def close(self) -> None:
        """End what runs."""
        channels, self._channels = self._channels, {}
        for channel in channels.values():
            await channel.close()

    async def _once(self, method: Method[Asked, Told], request: Asked, timeout: float) -> Told:
        metadata = await self._credentials(timeout)
        return await self._make(method)(request, timeout=timeout, metadata=metadata)  # type: ignore[no-any-return] # checked by the response's type

    def _make(self, method: Method[Any, Any]) -> Any:
        make: Any = self._channel().unary_unary
        return make(method.path, method.request.SerializeToString, method.response.FromString)

    async def _credentials(self, timeout: float) -> tuple[tuple[str, str], ...]:
        if self._access.login is None:
            return ()
        async with self._login:
            if not self._token:
                login = self._access.login()
                asked = pb.AuthenticateRequest(name=login.user, password=login.password)
                self._token = (await self._make(LOGIN)(asked, timeout=timeout)).token
            return (("token", self._token),)

    def _channel(self) -> grpc.aio.Channel:
        channel = self._channels.get(self._at)
        if channel is None:
            channel = self._access.open(str(self.member), OPTIONS)
            self._channels[self._at] = channel
        return channel
