"""What both clients are told, and remember."""

import threading
import time
import uuid
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, Generic, TypeVar

import grpc

from inferloom.client.course import RESUMABLE, Course, Trying
from inferloom.client.directory import Directory
from inferloom.client.errors import InferloomError, Kind, closed, read
from inferloom.client.settings import Settings
from inferloom.client.targets import Turn, addresses
from inferloom.v1 import inference_pb2 as pb

Channel = TypeVar("Channel")

REGISTRY_S = 5.0
"""What a registry gets to answer, before the next one is asked."""

MOMENT_S = 1.0
"""For how long a new list of workers is waited for where there is an old one."""


class Told(ABC, Generic[Channel]):
    """Whom a client calls, how often, and with what.

    Args:
        gateway: ``host:port`` of a gateway's gRPC port, or of several, which are tried in turn.
        registry: ``host:port`` of a registry, or of several, in a gateway's place: workers are called as it
            tells, the one with the least to do first.
        api_key: Shown with each call of a gateway.
        credentials: For TLS, such as ``grpc.ssl_channel_credentials()``. With a registry: the certificate of
            an operator of the mesh, with its key and the mesh's authority.
        mesh_secret: With a registry, where the mesh has a secret in the place of certificates. White space
            around it does not count, and of several lines the first is the secret.
        retries: How often in a row a request is tried again that nothing has come of.
        timeout: Seconds for a request with all its tries. None: as long as the mesh takes.

    Raises:
        ValueError: An address is wrong, or none is given, or the secret is too short or meant for a gateway.
    """

    def __init__(
        self,
        gateway: str | Sequence[str] | None = None,
        *,
        registry: str | Sequence[str] | None = None,
        api_key: str | None = None,
        credentials: grpc.ChannelCredentials | None = None,
        mesh_secret: str | None = None,
        retries: int = 3,
        timeout: float | None = None,
    ) -> None:
        if (gateway is None) == (registry is None):
            raise ValueError("name a gateway or a registry")
        self._settings = Settings(
            () if gateway is None else addresses(gateway),
            () if registry is None else addresses(registry),
            *(api_key, credentials, mesh_secret, Trying(retries, timeout)),
        )
        self._turn = Turn(self._settings.gateways or self._settings.registries)
        self._directory = Directory(time.monotonic) if registry is not None else None
        self._channels: dict[tuple[str, str], Channel] = {}
        """By what they lead to, and where."""
        self._lock = threading.Lock()
        """Guards these, where several threads call."""
        self._closes = threading.Event()
        """Set when it is closed."""

    @abstractmethod
    def _open(self, address: str, options: Sequence[tuple[str, int | str]]) -> Channel:
        """Make a channel."""

    def _channel(self, role: str, address: str) -> Channel:
        """The channel that leads there.

        Raises:
            InferloomError: The client is closed.
        """
        with self._lock:
            if self._closes.is_set():
                raise closed()
            if (role, address) not in self._channels:
                self._channels[role, address] = self._open(address, self._settings.options(role))
            return self._channels[role, address]

    def _closing(self) -> list[Channel]:
        """The channels of a client that is closed, and makes no more."""
        with self._lock:
            self._closes.set()
            channels, self._channels = list(self._channels.values()), {}
        return channels

    def _course(self, request: pb.GenerateRequest | None = None, resumable_s: float | None = None) -> Course:
        """The course of a request that begins now. A stream that is to outlive its connection gets a name,
        if it has none: it can then be asked for whatever becomes of the call that begins it."""
        trying = self._settings.trying
        if request is None or resumable_s is None or self._directory is not None:
            return Course(trying, time.monotonic)
        request.request_id = request.request_id or uuid.uuid4().hex
        return Course(trying, time.monotonic, stream=request.request_id, resumable_s=resumable_s)

    def _generation(
        self, stub: Any, request: pb.GenerateRequest, course: Course, resumable_s: float | None
    ) -> Any:
        """Call for the events that a request still misses."""
        left, metadata = course.left(), self._settings.metadata
        if course.goes_on:
            rest = pb.ContinueGenerateRequest(stream=course.stream, after=course.after)
            return stub.ContinueGenerate(rest, timeout=left, metadata=metadata)
        if course.stream:
            metadata = (*metadata, (RESUMABLE, str(resumable_s)))
        return stub.Generate(request, timeout=left, metadata=metadata)

    def _choose(self, model: str, course: Course) -> None:
        """Choose a worker of the last list for a request, and count the call.

        Raises:
            InferloomError: There is none.
        """
        assert self._directory is not None
        with self._lock:
            if not self._directory.has_other(model, course.avoided):
                course.avoided.clear()
            course.asked = self._directory.choose(model, course.avoided)
            self._directory.begin(course.asked)

    def _left(self, course: Course) -> None:
        """Note that a call is over."""
        if self._directory is not None and course.asked:
            with self._lock:
                self._directory.end(course.asked)

    def _failed(self, model: str, course: Course, failure: Exception) -> float:
        """Seconds after which the request is tried again, elsewhere where somebody failed.

        Raises:
            InferloomError: It is not.
        """
        if self._closes.is_set():
            raise closed() from failure
        if not isinstance(failure, (grpc.RpcError, InferloomError)):
            raise failure
        error, asked, elsewhere = read(failure), course.asked, False
        if asked and self._directory is not None:
            # A registry lists a worker that has died until its lease ends, with the load of before.
            course.avoided.add(asked)
            with self._lock:
                if error.kind in (Kind.LOST, Kind.LATE):
                    self._directory.lost(asked)
                elsewhere = self._directory.has_other(model, course.avoided)
        elif asked and error.kind is not Kind.FINAL:
            self._turn.failed(asked)
        return course.failed(error, elsewhere=elsewhere)

    def _unheard(self, address: str, failure: Exception) -> InferloomError:
        """What it means that a registry did not answer; another one is asked next."""
        self._turn.failed(address)
        if self._closes.is_set() or not isinstance(failure, (grpc.RpcError, InferloomError)):
            return closed()
        error = read(failure)
        if error.kind is not Kind.LATE:
            return error
        return InferloomError(f"The registry at {address} does not answer.", grpc.StatusCode.UNAVAILABLE)


def late() -> InferloomError:
    """The error of a request whose time was over before somebody was found who could be called."""
    return InferloomError("The request's time is over.", grpc.StatusCode.DEADLINE_EXCEEDED)
