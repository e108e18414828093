"""A call that needs nobody else."""

from collections.abc import Callable
from types import TracebackType
from typing import Any, Self

from inferloom_gateway.contract.service import NO_HEADERS, Events


class _Nothing:
    """No responses."""

    async def read(self) -> None:
        """There is none."""


class Known:
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

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        pass
