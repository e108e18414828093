"""Whether what computes on a thread of its own still can.

Crash-only (Candea and Fox, "Crash-Only Software", HotOS 2003): what broke is not mended. Its process ends and
is started anew.
"""

import threading
from collections.abc import Callable
from dataclasses import dataclass

from inferloom_mesh.errors import InferloomError, Reason


class MemorySuspectError(Exception):
    """Memory is other than it must be: nothing that the process computes from now on can be trusted."""


@dataclass(frozen=True, slots=True)
class Fault:
    """Why a thread ended that must not: ``part`` names it for people."""

    part: str
    error: BaseException

    @property
    def memory_suspect(self) -> bool:
        """Whether other models' results are in doubt too."""
        return isinstance(self.error, MemorySuspectError)

    def __str__(self) -> str:
        return f"{self.part} failed: {type(self.error).__name__}: {self.error}"


class Health:
    """Good until :meth:`broke`, and never good again. Callable from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._fault: Fault | None = None
        self._listeners: list[Callable[[Fault], None]] = []

    @property
    def fault(self) -> Fault | None:
        """What broke it; None while it is good."""
        return self._fault

    def broke(self, fault: Fault) -> None:
        """Tell every listener, on this thread. Only the first fault counts."""
        with self._lock:
            if self._fault is not None:
                return
            self._fault = fault
            listeners, self._listeners = self._listeners, []
        for listener in listeners:
            listener(fault)

    def watch(self, listener: Callable[[Fault], None]) -> None:
        """Have ``listener`` called with the fault, on the thread that breaks; at once if that was before."""
        with self._lock:
            fault = self._fault
            if fault is None:
                self._listeners.append(listener)
        if fault is not None:
            listener(fault)


def engine_failed() -> InferloomError:
    """The error for requests to what broke: another worker can take them."""
    return InferloomError(
        Reason.WORKER_LOST, "The model failed, and its worker starts anew.", retry_after=1.0
    )


def unloaded() -> InferloomError:
    """The error for requests to what was closed."""
    return InferloomError(Reason.WORKER_LOST, "The model was unloaded.", retry_after=1.0)
