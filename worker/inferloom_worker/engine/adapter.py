"""Weights that are added to a model's, for some of its requests."""

from typing import Protocol


class Adapter(Protocol):
    """Weights that change what a model computes for the requests that ask for it.

    The engine that loaded it is the only one to use it. Its memory is freed when nobody holds it any more:
    neither who serves it nor a request.
    """

    @property
    def id(self) -> int:
        """Tells it from every other adapter of the process, earlier ones included."""
        ...

    @property
    def weights_bytes(self) -> int:
        """Bytes of its weights in memory."""
        ...
