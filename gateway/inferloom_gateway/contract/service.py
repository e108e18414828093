"""What a door of the contract calls, whatever protocol it speaks."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType, TracebackType
from typing import Any, Protocol, Self

from inferloom_gateway.access.identity import ANONYMOUS, Identity
from inferloom_gateway.calls.records import Record
from inferloom_gateway.contract.method import Method
from inferloom_mesh.trace_context import TraceContext


@dataclass(frozen=True, slots=True)
class Caller:
    """Who calls, and what came with the call."""

    address: str
    identity: Identity = ANONYMOUS
    request_id: str = ""
    """A name for requests that bring none; empty: one is made."""
    time_left: float | None = None
    """Seconds that the caller allows; None: as many as the gateway does."""
    trace: TraceContext | None = None
    """The span that its request is made under; None: none that is known."""
    resumable: str | None = None
    """For how long its stream is to outlive it, as it says it; None: it is not to."""


NO_HEADERS: Mapping[str, str] = MappingProxyType({})


class Events(Protocol):
    """The responses of a call that has many."""

    async def read(self) -> Any:
        """Return the next; None after the last. Raises InferloomError."""


class Call(Protocol):
    """One call. Leaving its block, or :meth:`close`, ends what still runs of it."""

    @property
    def record(self) -> Record | None:
        """What is known of it as a request to workers; None if it is none."""

    @property
    def headers(self) -> Mapping[str, str]:
        """What its caller is told beside the responses, known once it was accepted."""

    async def answer(self) -> Any:
        """The response of a method that has one. Raises InferloomError."""

    async def events(self) -> Events:
        """The responses of a method that streams, once the call was accepted. Raises InferloomError."""

    def close(self) -> None:
        """End it; again, or after its end, does nothing."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


class Service(Protocol):
    """A service whose methods can be called."""

    @property
    def methods(self) -> Sequence[Method]:
        """All that can be called."""

    def begin(self, method: Method, request: Any, caller: Caller) -> Call:
        """Begin a call of a method with a request of its type."""
