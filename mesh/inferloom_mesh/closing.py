"""What is closed when its block ends."""

from abc import abstractmethod
from types import TracebackType
from typing import Self


class Closing:
    """To be used as ``with it:``, whose end closes it."""

    @abstractmethod
    def close(self) -> None:
        """End what still runs of it; again, or after its end, does nothing."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
