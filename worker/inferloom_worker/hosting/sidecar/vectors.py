"""Vectors that a server computes."""

import base64
import binascii
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from inferloom_mesh.errors import unsupported
from inferloom_worker.embed.options import NOBODY, Caller, EmbedderInfo
from inferloom_worker.embed.vector_stream import VectorStream
from inferloom_worker.engines.sidecar import reading
from inferloom_worker.engines.sidecar.facts import Facts
from inferloom_worker.engines.sidecar.kinds import ServerKind
from inferloom_worker.engines.sidecar.sse import MalformedError
from inferloom_worker.hosting.sidecar.posts import Posts

BATCH = 32
"""Texts that the server is sent at once."""

MOST_TOKENS = 2**31 - 1
"""Stands for a length that the server does not tell; it refuses what is too long itself."""


class ServerText(list[int]):
    """An input's tokens; of a text, which its server reads, none."""

    def __init__(self, item: str | list[int], *, truncate: bool) -> None:
        super().__init__(() if isinstance(item, str) else item)
        self.item = item
        self.truncate = truncate


class ServerReader:
    """Takes inputs as they are."""

    def __init__(self, facts: Facts) -> None:
        self._facts = facts

    def read(self, param: str, item: str | list[int], *, truncate: bool) -> ServerText:
        """An input.

        Raises:
            InferloomError: UNSUPPORTED_PARAMETER: the server cannot do with it what is asked.
        """
        if truncate and self._facts.kind is not ServerKind.VLLM:
            raise unsupported("truncate", "The model's server cuts no inputs.")
        if not isinstance(item, str) and not self._facts.manner.takes_ids:
            raise unsupported(param, "The model's server takes no token ids.")
        return ServerText(item, truncate=truncate)


class ServerEmbedder:
    """A :class:`~inferloom_worker.embed.protocol.TextEmbedder` that asks a server.

    Args:
        posts: Has it asked: a request for vectors takes a place.
        facts: What it is.
    """

    def __init__(self, posts: Posts, facts: Facts) -> None:
        self.info = EmbedderInfo(
            dimensions=facts.dimensions,
            max_tokens=facts.context_length or MOST_TOKENS,
            vocab_size=facts.vocabulary_size or MOST_TOKENS,
            normalizes=facts.normalizes,
            shortens=False,
            dtype="",
            weights_bytes=0,
            batch_size=BATCH,
            engine="sidecar",
        )
        self.reader = ServerReader(facts)
        self._posts = posts
        self._facts = facts

    def embed(self, texts: Sequence[list[int]], caller: Caller = NOBODY) -> VectorStream:
        """As the protocol says; the stream counts the tokens that the server has read."""
        return self._posts.stream(len(texts), caller, lambda stream: self._compute(texts, stream))

    async def _compute(self, texts: Sequence[list[int]], stream: VectorStream) -> None:
        stream.read_tokens = 0
        for first in range(0, len(texts), BATCH):
            some = texts[first : first + BATCH]
            body: dict[str, Any] = {
                "model": self._facts.model,
                "input": [each.item if isinstance(each, ServerText) else list(each) for each in some],
                "encoding_format": "float" if self._facts.kind is ServerKind.OLLAMA else "base64",
            }
            if any(isinstance(each, ServerText) and each.truncate for each in some):
                body["truncate_prompt_tokens"] = -1
            answer = await self._posts.post(stream, "/embeddings", body)
            rows = _rows(answer, len(some), self._facts.dimensions)
            stream.read_tokens += prompt_tokens(answer)
            for offset, row in enumerate(rows):
                stream.put(first + offset, row)


def _rows(answer: Mapping[str, Any], count: int, dimensions: int) -> list[NDArray[np.float32]]:
    """The vectors of an answer, in the order of the inputs."""
    data = reading.items(answer.get("data"), "data", count)
    rows: dict[int, NDArray[np.float32]] = {}
    for each in data:
        told = reading.obj(each, "a vector")
        rows[reading.count(told.get("index"), "an index")] = _row(told.get("embedding"), dimensions)
    if rows.keys() != set(range(count)):
        raise MalformedError("vectors of other inputs")
    return [rows[index] for index in range(count)]


def _row(value: object, dimensions: int) -> NDArray[np.float32]:
    if isinstance(value, str):
        try:
            row = np.frombuffer(base64.b64decode(value, validate=True), "<f4")
        except (binascii.Error, ValueError):
            raise MalformedError("a vector that is no base64") from None
    else:
        numbers = reading.items(value, "a vector", 2**16)
        row = np.asarray([reading.number(each, "a vector") for each in numbers], np.float32)
    if len(row) != dimensions or not np.isfinite(row).all():
        raise MalformedError(f"a vector that is none of {dimensions} numbers")
    return row


def prompt_tokens(answer: Mapping[str, Any]) -> int:
    """The tokens that the server has read for an answer. Raises MalformedError."""
    usage = reading.obj(answer.get("usage"), "usage")
    return reading.count(usage.get("prompt_tokens", usage.get("total_tokens")), "prompt_tokens")
