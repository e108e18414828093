"""What a worker asks of whatever computes vectors."""

from collections.abc import Sequence
from typing import Protocol

from inferloom_worker.embed.options import NOBODY, Caller, EmbedderInfo
from inferloom_worker.embed.reader import Reader
from inferloom_worker.embed.vector_stream import VectorStream


class InputReader(Protocol):
    """Makes of inputs what an embedder reads."""

    def read(self, param: str, item: str | list[int], *, truncate: bool) -> list[int]:
        """An input's tokens. Of one whose tokens are only known elsewhere there are none, and it goes to its
        own embedder alone. Blocking.

        Raises:
            InferloomError: It is too long, or cannot be read so.
        """
        ...


class TextEmbedder(Protocol):
    """Computes vectors for the texts of many requests at once."""

    info: EmbedderInfo

    @property
    def reader(self) -> InputReader:
        """What reads the inputs."""
        ...

    def embed(self, texts: Sequence[list[int]], caller: Caller = NOBODY) -> VectorStream:
        """Vectors for tokenised texts, at least one; not normalised. Called on an event loop. Closing the
        stream takes back what waits. What is computed is the ``caller``'s, where turns are counted or
        state is kept.

        Raises:
            InferloomError: SERVER_OVERLOADED when the queue is full, WORKER_LOST when closed. The stream
                raises WORKER_LOST when closed meanwhile, and SERVER_ERROR, at ``inputs[i]``, for a text that
                could not be computed.
        """
        ...


class TokenEmbedder(TextEmbedder, Protocol):
    """One whose tokens are known here."""

    @property
    def reader(self) -> Reader:
        """What reads the inputs."""
        ...
