"""What is to happen when a call that a gRPC server answers is over."""

from __future__ import annotations  # grpc's generic types cannot be subscripted at run time

from collections.abc import Callable
from typing import Any

import grpc


def when_ended(context: grpc.aio.ServicerContext[Any, Any], act: Callable[[], object]) -> None:
    """Have ``act`` called on the event loop when the call ends, however it ends.

    A handler's own ``finally`` is no place for it: a handler that is cancelled while a message is being sent
    is never resumed.
    """
    done: Any = lambda _: act()  # noqa: E731 # Any: the stub asks for a class, grpc calls whatever it is given
    context.add_done_callback(done)
