"""What a door knows of a call beside its request."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import grpc

Context = grpc.aio.ServicerContext[Any, Any]


@dataclass(frozen=True, slots=True)
class IncomingCall:
    """One call, whichever door it came through."""

    tenant: str
    """Who gets a fair share. Until callers show who they are: the connection, so that one gateway is one
    tenant, and who calls directly is another."""
    time_left: float | None
    """Seconds until its deadline, when it came; None: it has none."""
    on_end: Callable[[Callable[[], object]], object]
    """Has something called when the call ends, however it ends. On the event loop."""

    def engine_deadline(self) -> float | None:
        """When a model is to end, of ``time.monotonic``, so that what it has still reaches the caller in
        time."""
        if self.time_left is None:
            return None
        return time.monotonic() + self.time_left - min(0.25, self.time_left * 0.05)


def from_grpc(context: Context) -> IncomingCall:
    """A gRPC call."""

    def on_end(act: Callable[[], object]) -> None:
        done: Any = lambda _: act()  # noqa: E731 # Any: the stub wants a class
        context.add_done_callback(done)

    return IncomingCall(context.peer(), context.time_remaining(), on_end)
