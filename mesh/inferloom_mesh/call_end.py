"""What is to happen when a call that a gRPC server answers is over."""

from __future__ import annotations  # grpc's generic types cannot be subscripted at run time

from collections.abc import Callable
from typing import Any

import grpc


class _Once:
    """Does something once, and holds it no longer."""

    __slots__ = ("_act",)

    def __init__(self, act: Callable[[], object]) -> None:
        self._act: Callable[[], object] | None = act

    def __call__(self, context: object) -> None:
        act, self._act = self._act, None
        if act is not None:
            act()


def when_ended(context: grpc.aio.ServicerContext[Any, Any], act: Callable[[], object]) -> None:
    """Have ``act`` called on the event loop when the call ends, however it ends.

    A handler's own ``finally`` is no place for it: a handler that is cancelled while a message is being sent
    is never resumed. grpc keeps what it calls, and the context with it, until the garbage collector comes by;
    the request is not kept for as long.
    """
    done: Any = _Once(act)  # Any: the stub asks for a class, grpc calls whatever it is given
    context.add_done_callback(done)
