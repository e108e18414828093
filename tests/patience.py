"""How long tests wait, and what they say of what they waited for.

A test that fails tells of a fault of the product, and not of a machine that stood still for some seconds. So
there are two kinds of limits. One that only ends a test that hangs is :data:`PATIENCE_S`, whatever is waited
for. One that is itself what is claimed of the product has a wide margin, or does not count standstills:
:func:`within`, :func:`undisturbed` and :class:`Moment`.
"""

import asyncio
import functools
import inspect
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, ParamSpec, TypeVar, cast, overload

P = ParamSpec("P")
T = TypeVar("T")

PATIENCE_S = 60.0
"""Seconds after which a test that waits for something has failed: far more than a busy machine stands still,
and well below pytest's own limit for a test. It costs nothing where what is waited for comes."""

_POLL_S = 0.02
_TICK_S = 0.02
_TRIES = 10


def until(
    see: Callable[[], T], what: str, holds: Callable[[T], object] = bool, limit_s: float = PATIENCE_S
) -> T:
    """Look until what is seen holds, and return it; by default, until it is true.

    Raises:
        AssertionError: It did not come to that within ``limit_s`` seconds; says what was seen last.
    """
    deadline = time.monotonic() + limit_s
    while True:
        late = time.monotonic() >= deadline  # before it looks: there is always a look behind the limit
        if holds(seen := see()):
            return seen
        assert not late, _missed(what, limit_s, seen)
        time.sleep(_POLL_S)  # a process tells nobody what it has come to


@overload
async def until_async(
    see: Callable[[], Awaitable[T]], what: str, holds: Callable[[T], object] = bool
) -> T: ...
@overload
async def until_async(see: Callable[[], T], what: str, holds: Callable[[T], object] = bool) -> T: ...
async def until_async(see: Callable[[], Any], what: str, holds: Callable[[Any], object] = bool) -> Any:
    """The same on an event loop. ``see`` may be asynchronous: a look that does not answer fails as well."""
    seen, pause = cast("Any", "nothing"), 0.001
    try:
        async with asyncio.timeout(PATIENCE_S):
            while True:
                found = see()
                seen = await found if inspect.isawaitable(found) else found
                if holds(seen):
                    return seen
                await asyncio.sleep(pause)
                pause = min(2 * pause, _POLL_S)
    except TimeoutError:
        raise AssertionError(_missed(what, PATIENCE_S, seen)) from None


def _missed(what: str, limit_s: float, seen: object) -> str:
    return f"{what}: not within {limit_s:g} s; seen last: {seen!r}"


@asynccontextmanager
async def within(limit_s: float) -> AsyncIterator[None]:
    """Bound what a test claims to be quick, as ``asyncio.timeout`` does, but count only time in which this
    event loop ran: while the machine or its processes stand still, nothing that is on it can be quick.

    Raises:
        TimeoutError: It took longer.
    """
    async with asyncio.timeout(None) as bound:

        async def count() -> None:
            loop, ran = asyncio.get_running_loop(), 0.0
            last = loop.time()
            while ran < limit_s:
                await asyncio.sleep(_TICK_S)
                now = loop.time()
                ran += min(now - last, 2 * _TICK_S)
                last = now
            bound.reschedule(last)

        counting = asyncio.create_task(count())
        try:
            yield
        finally:
            counting.cancel()
            await asyncio.gather(counting, return_exceptions=True)


@dataclass(frozen=True, slots=True)
class Moment:
    """A moment of this process. The difference of two is the seconds that passed, but at most those that the
    process computed meanwhile: what it holds up itself counts, and a machine that stands still does not."""

    passed: float
    computed: float

    @classmethod
    def now(cls) -> "Moment":
        """This one."""
        return cls(time.monotonic(), time.process_time())

    def __sub__(self, earlier: "Moment") -> float:
        return min(self.passed - earlier.passed, self.computed - earlier.computed)


def undisturbed(still_s: float) -> Callable[[Callable[P, Awaitable[None]]], Callable[P, Awaitable[None]]]:
    """For a test that gives the product little time on a real clock. Where it fails, and its event loop stood
    still for ``still_s`` meanwhile, it says nothing of the product, and is run again."""

    def decorate(test: Callable[P, Awaitable[None]]) -> Callable[P, Awaitable[None]]:
        @functools.wraps(test)
        async def run(*args: P.args, **kwargs: P.kwargs) -> None:
            for left in reversed(range(_TRIES)):
                stood = _Standstill()
                counting = asyncio.create_task(stood.count())
                try:
                    await test(*args, **kwargs)
                except Exception:
                    if not left or stood.longest() < still_s:
                        raise
                else:
                    return
                finally:
                    counting.cancel()

        return run

    return decorate


class _Standstill:
    """How long the event loop stood still at most."""

    def __init__(self) -> None:
        self._longest = 0.0
        self._seen = time.monotonic()

    async def count(self) -> None:
        """Look at the clock all the time."""
        while True:
            await asyncio.sleep(_TICK_S)
            self._longest = self.longest()
            self._seen = time.monotonic()

    def longest(self) -> float:
        """In seconds."""
        return max(self._longest, time.monotonic() - self._seen - _TICK_S)
