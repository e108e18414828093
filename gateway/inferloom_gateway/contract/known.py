"""A call that needs nobody else."""

from collections.abc import Callable
from typing import Any

from inferloom_gateway.contract.service import NO_HEADERS, Events
from inferloom_mesh.closing import Closing


class _Nothing:
    """No responses."""

    async def read(self) -> None:
        """There is none."""


class Known(Closing):
    """A call whose one response the gateway knows by itself."""

    record = None
    headers = NO_HEADERS

    def __init__(self, make: Callable[[], Any]) -> None:
        self._make = make

    async def answer(self) -> Any:
        """Make it."""
        return self._make()

    async def events(self) -> Events:
        """There are none."""
        return _Nothing()

    def close(self) -> None:
        """Nothing runs."""
