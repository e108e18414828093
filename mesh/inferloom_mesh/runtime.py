"""The life of a service process: its event loop, its signals, and the end of its parent."""

import asyncio
import gc
import logging
import os
import signal
import sys
import threading
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress

LIFELINE_VARIABLE = "INFERLOOM_LIFELINE_FD"
"""Environment variable with the descriptor of a pipe that a supervisor holds open.

When the supervisor ends, however it ends, the pipe closes and the service stops as if by SIGTERM."""

SWITCH_S = 0.5e-3
"""How long one thread may keep the GIL while another waits for it. The event loop waits for a thread that
renders a template or takes in a body; an engine's thread that comes back from a step waits for the loop, and
Python's own 5 ms are as long as a whole step of one stream."""

FIRST_GENERATION = 10_000
"""New objects after which the garbage collector goes through them."""

log = logging.getLogger(__name__)

ORPHAN_LIMIT_S = 60.0
"""How long a service may drain once its supervisor is gone, before it ends however busy it is."""


def run_service(serve: Callable[[asyncio.Event], Awaitable[None]]) -> signal.Signals | None:
    """Run ``serve`` on a fast event loop until it returns.

    ``serve`` is given an event that is set by the first SIGTERM, SIGINT or SIGHUP, or when the supervisor is
    gone; it should then drain and return. A second one ends the process at once, unless it is SIGHUP: a
    terminal that closes may send several. A process that was started to ignore SIGHUP (``nohup``) does.

    Returns:
        The signal that stopped it; None if ``serve`` returned by itself.
    """
    _watch_lifeline()
    sys.setswitchinterval(SWITCH_S)
    received: list[signal.Signals] = []

    async def main() -> None:
        stop = asyncio.Event()

        def on_signal(number: signal.Signals) -> None:
            if received:
                if number == signal.SIGHUP:
                    return
                log.warning("second %s: ending at once", number.name)
                os._exit(128 + number)
            log.info("%s: stopping", number.name)
            received.append(number)
            stop.set()

        hung_up = () if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN else (signal.SIGHUP,)
        for number in (signal.SIGTERM, signal.SIGINT, *hung_up):
            asyncio.get_running_loop().add_signal_handler(number, on_signal, number)
        await serve(stop)

    with asyncio.Runner(loop_factory=_loop_factory()) as runner:
        runner.run(main())
    return received[0] if received else None


def settle() -> None:
    """Spare the garbage collector what was made until now, because a ready service keeps it to its end.

    Its full collections would go through every library again and again, and stop all requests meanwhile. The
    first generation is larger than Python's, because a step of 256 sequences makes thousands of objects
    that all go with it: a collection amid the step goes through them for nothing.
    """
    gc.collect()  # what is dead by now would stay, too
    gc.freeze()
    gc.set_threshold(FIRST_GENERATION, *gc.get_threshold()[1:])


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
        time.sleep(ORPHAN_LIMIT_S)  # this thread has nothing else to do, and dies with the process
        os._exit(1)

    threading.Thread(target=wait, name="lifeline", daemon=True).start()
