"""The life of a service process: its event loop, its signals, and the end of its parent."""

import asyncio
import logging
import os
import signal
import sys
import threading
from collections.abc import Awaitable, Callable
from contextlib import suppress

LIFELINE_VARIABLE = "INFERLOOM_LIFELINE_FD"
"""Environment variable with the descriptor of a pipe that a supervisor holds open.

When the supervisor ends, however it ends, the pipe closes and the service stops as if by SIGTERM."""

log = logging.getLogger(__name__)


def run_service(serve: Callable[[asyncio.Event], Awaitable[None]]) -> None:
    """Run ``serve`` on a fast event loop until it returns.

    ``serve`` is given an event that is set by the first SIGTERM or SIGINT, or when the supervisor is gone;
    it should then drain and return. A second signal ends the process at once.
    """
    _watch_lifeline()

    async def main() -> None:
        stop = asyncio.Event()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, _on_signal, stop, number)
        await serve(stop)

    with asyncio.Runner(loop_factory=_loop_factory()) as runner:
        runner.run(main())


def _on_signal(stop: asyncio.Event, number: signal.Signals) -> None:
    if stop.is_set():
        log.warning("second %s: ending at once", number.name)
        os._exit(128 + number)
    log.info("%s: stopping", number.name)
    stop.set()


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    with suppress(ImportError):
        import uvloop

        return uvloop.new_event_loop
    return None


def _watch_lifeline() -> None:
    descriptor = os.environ.pop(LIFELINE_VARIABLE, None)
    if descriptor is None:
        return

    def wait() -> None:
        with suppress(OSError):
            os.read(int(descriptor), 1)  # returns at end of file: nobody writes
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=wait, name="lifeline", daemon=True).start()


def configure_logging(level: str) -> None:
    """Write log lines of at least ``level`` to standard error, one line each."""
    logging.basicConfig(
        level=level.upper(),
        stream=sys.stderr,
        format="%(asctime)s %(levelname)-7s %(name)s: %(message)s",
        force=True,
    )
