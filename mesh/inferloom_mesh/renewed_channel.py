"""A channel whose certificates may be replaced: later calls go over a new connection, those that run end on
the old one. gRPC's own credentials of clients never change."""

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

import grpc

from inferloom_mesh.tls_reading import Shown
from inferloom_mesh.watched import Watched


class _Connected:
    """One channel, and how many of its calls run."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        self.channel = channel
        self._running = 0
        self._closing: asyncio.Future[None] | None = None
        self._retired = False

    def watch(self, call: Any) -> None:
        """Count a call that begins."""
        self._running += 1
        call.add_done_callback(self._ended)

    def retire(self) -> None:
        """Close the channel once its calls have ended."""
        self._retired = True
        self._close_if_idle()

    @property
    def closed(self) -> bool:
        """Whether nothing is left of it."""
        return self._closing is not None and self._closing.done()

    def _ended(self, call: Any) -> None:
        self._running -= 1
        self._close_if_idle()

    def _close_if_idle(self) -> None:
        if self._retired and not self._running and self._closing is None:
            self._closing = asyncio.ensure_future(self.channel.close())


class RenewedChannel(grpc.aio.Channel):
    """Stands for the channel of the moment.

    Args:
        connect: Opens a channel with the certificates as they are now.
        generation: A number that grows when they are replaced.
    """

    def __init__(self, connect: Callable[[], grpc.aio.Channel], generation: Callable[[], int]) -> None:
        self._connect = connect
        self._generation = generation
        self._made = generation()
        self._connected = _Connected(connect())
        self._before: list[_Connected] = []

    def connected(self) -> _Connected:
        """What a call that begins now goes over."""
        if (generation := self._generation()) != self._made:
            self._made = generation
            self._connected.retire()
            self._before = [each for each in self._before if not each.closed] + [self._connected]
            self._connected = _Connected(self._connect())
        return self._connected

    def now(self) -> grpc.aio.Channel:
        """The channel of a call that begins now."""
        return self.connected().channel

    def unary_unary(self, method: str, *args: Any, **kwargs: Any) -> Any:
        """See the base class; so do the others."""
        return _Method(self, "unary_unary", method, args, kwargs)

    def unary_stream(self, method: str, *args: Any, **kwargs: Any) -> Any:
        """One request, many responses."""
        return _Method(self, "unary_stream", method, args, kwargs)

    def stream_unary(self, method: str, *args: Any, **kwargs: Any) -> Any:
        """Many requests, one response."""
        return _Method(self, "stream_unary", method, args, kwargs)

    def stream_stream(self, method: str, *args: Any, **kwargs: Any) -> Any:
        """Many of both."""
        return _Method(self, "stream_stream", method, args, kwargs)

    async def close(self, grace: float | None = None) -> None:
        """Close all of it."""
        await asyncio.gather(*(each.channel.close(grace) for each in (*self._before, self._connected)))

    def get_state(self, try_to_connect: bool = False) -> grpc.ChannelConnectivity:
        """Of the channel of the moment."""
        return self.now().get_state(try_to_connect)

    async def wait_for_state_change(self, last_observed_state: grpc.ChannelConnectivity) -> None:
        """Of the channel of the moment."""
        await self.now().wait_for_state_change(last_observed_state)

    async def channel_ready(self) -> None:
        """Of the channel of the moment."""
        await self.now().channel_ready()

    async def __aenter__(self) -> "RenewedChannel":
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self.close()


def channel_to(target: str, files: Watched[Shown], options: Sequence[tuple[str, int]] = ()) -> RenewedChannel:
    """A channel, with TLS, to a service that is not of the mesh."""

    def connect() -> grpc.aio.Channel:
        now = files.current()
        credentials = grpc.ssl_channel_credentials(now.authorities, now.key, now.certificate)
        return grpc.aio.secure_channel(target, credentials, options=options)

    return RenewedChannel(connect, files.generation)


class _Method:
    """One method: what a stub keeps."""

    def __init__(self, channel: RenewedChannel, kind: str, method: str, args: Any, kwargs: Any) -> None:
        self._renewed = channel
        self._kind = kind
        self._how = (method, args, kwargs)
        self._connected: _Connected | None = None
        self._call: Callable[..., Any] = self.__call__

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Make a call."""
        now = self._renewed.connected()
        if now is not self._connected:
            method, how, more = self._how
            self._connected, self._call = now, getattr(now.channel, self._kind)(method, *how, **more)
        call = self._call(*args, **kwargs)
        now.watch(call)
        return call
