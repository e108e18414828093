"""What both clients are told, and remember."""

import threading
from collections.abc import Sequence
from typing import Generic, TypeVar

import grpc

from inferloom.client.course import Course, Trying
from inferloom.client.errors import InferloomError, read
from inferloom.client.settings import Settings
from inferloom.client.targets import Turn, addresses

Channel = TypeVar("Channel")


class Told(Generic[Channel]):
    """Whom a client calls, how often, and with what.

    Args:
        gateway: ``host:port`` of a gateway's gRPC port, or of several, which are tried in turn.
        registry: ``host:port`` of a registry, or of several, in a gateway's place: workers are called as it
            tells, the one with the least to do first.
        api_key: Shown with each call.
        credentials: For TLS, such as ``grpc.ssl_channel_credentials()``.
        retries: How often in a row a request is tried again that nothing has come of.
        timeout: Seconds for a request with all its tries. None: as long as the mesh takes.

    Raises:
        ValueError: An address is wrong, or none is given.
    """

    def __init__(
        self,
        gateway: str | Sequence[str] | None = None,
        *,
        registry: str | Sequence[str] | None = None,
        api_key: str | None = None,
        credentials: grpc.ChannelCredentials | None = None,
        retries: int = 3,
        timeout: float | None = None,
    ) -> None:
        if (gateway is None) == (registry is None):
            raise ValueError("name a gateway or a registry")
        self._settings = Settings(
            () if gateway is None else addresses(gateway),
            () if registry is None else addresses(registry),
            api_key,
            credentials,
            Trying(retries, timeout),
        )
        self._turn = Turn(self._settings.gateways or self._settings.registries)
        self._channels: dict[str, Channel] = {}
        """By their addresses."""
        self._lock = threading.Lock()
        """Guards them, where several threads call."""

    def _failed(self, course: Course, failure: grpc.RpcError | InferloomError) -> float:
        """Seconds after which the request is tried again, at another gateway where one failed.

        Raises:
            InferloomError: It is not.
        """
        wait = course.failed(read(failure))
        if not self._settings.registries:
            self._turn.failed(course.asked)
        return wait
