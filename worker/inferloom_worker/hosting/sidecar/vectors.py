"""Vectors and scores that a server computes."""

import asyncio
import base64
import binascii
import time
from collections.abc import Callable, Coroutine, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from inferloom_mesh.errors import InferloomError, server_error, unsupported
from inferloom_mesh.named_fields import named
from inferloom_worker.embed.options import NOBODY, Caller, EmbedderInfo
from inferloom_worker.embed.ranker import Scores
from inferloom_worker.embed.vector_stream import Vectors, VectorStream
from inferloom_worker.engines.sidecar import reading
from inferloom_worker.engines.sidecar.client import Client
from inferloom_worker.engines.sidecar.facts import Facts
from inferloom_worker.engines.sidecar.failures import lost
from inferloom_worker.engines.sidecar.kinds import ServerKind
from inferloom_worker.engines.sidecar.places import Places
from inferloom_worker.engines.sidecar.sse import MalformedError
from inferloom_worker.validate.rerank import RankingRequest

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
        client: Speaks to it.
        facts: What it is.
        places: Its places: a request for vectors takes one.
    """

    def __init__(self, client: Client, facts: Facts, places: Places) -> None:
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
        self._client = client
        self._facts = facts
        self._places = places

    def embed(self, texts: Sequence[list[int]], caller: Caller = NOBODY) -> VectorStream:
        """As the protocol says; the stream counts the tokens that the server has read."""
        return _streamed(len(texts), self._places, caller, lambda stream: self._compute(texts, stream))

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
            answer = await self._client.post(f"{self._client.address.api}/embeddings", body)
            rows = _rows(answer, len(some), self._facts.dimensions)
            stream.read_tokens += _prompt_tokens(answer)
            for offset, row in enumerate(rows):
                stream.put(first + offset, row)


class ServerRanker:
    """A :class:`~inferloom_worker.embed.ranker.Ranker` that asks a server; arguments as those of
    :class:`ServerEmbedder`."""

    def __init__(self, client: Client, facts: Facts, places: Places) -> None:
        self._client = client
        self._facts = facts
        self._places = places

    def read(self, asked: RankingRequest) -> "ServerReading":
        """As the protocol says; UNSUPPORTED_PARAMETER for what the server cannot do."""
        for there, param in (
            (asked.each, "queries"),
            (asked.max_document_tokens is not None, "max_document_tokens"),
            (asked.max_tokens is not None, "max_tokens"),
            (asked.truncate and self._facts.kind is not ServerKind.VLLM, "truncate"),
            (not asked.activation, "activation"),
        ):
            if there:
                raise unsupported(param, f"The model's server does not support {named(param)}.")
        return ServerReading(self._client, self._facts, asked, self._places)


class ServerReading:
    """One request for scores."""

    def __init__(self, client: Client, facts: Facts, asked: RankingRequest, places: Places) -> None:
        self.tokens = 0
        self._client = client
        self._facts = facts
        self._asked = asked
        self._places = places

    def start(self, caller: Caller) -> VectorStream:
        return _streamed(len(self._asked.documents), self._places, caller, self._compute)

    def scores(self, rows: Vectors) -> Scores:
        return rows[:, 0]

    def restated(self, error: InferloomError) -> InferloomError:
        return error

    async def _compute(self, stream: VectorStream) -> None:
        body: dict[str, Any] = {
            "model": self._facts.model,
            "query": self._asked.queries[0],
            "documents": list(self._asked.documents),
            "top_n": len(self._asked.documents),
        }
        if self._asked.truncate:
            body["truncate_prompt_tokens"] = -1
        answer = await self._client.post(f"{self._client.address.api}/rerank", body)
        count = len(self._asked.documents)
        found: dict[int, float] = {}
        for each in reading.items(answer.get("results"), "results", count):
            told = reading.obj(each, "a result")
            score = reading.number(told.get("relevance_score"), "a score")
            found[reading.count(told.get("index"), "an index")] = score
        if found.keys() != set(range(count)):
            raise MalformedError("scores of other documents")
        self.tokens = _prompt_tokens(answer)
        for index in range(count):
            stream.put(index, np.asarray([found[index]], np.float32))


def _streamed(
    count: int,
    places: Places,
    caller: Caller,
    compute: Callable[[VectorStream], Coroutine[Any, Any, None]],
) -> VectorStream:
    """A stream that a task fills in its turn, and which ends with it.

    Raises:
        InferloomError: SERVER_OVERLOADED, WAIT_TOO_LONG: too many wait.
    """
    place, joined = places.join(1, caller.tenant, 0, None), time.monotonic()

    async def run() -> None:
        try:
            await place.come()
            stream.queue_s = time.monotonic() - joined
            await compute(stream)
            stream.compute_s = time.monotonic() - joined - stream.queue_s
        except InferloomError as error:
            stream.fail(error)
        except MalformedError as failure:
            stream.fail(lost(f"it answered {failure}"))
        except Exception:  # a bug: its caller must hear of it, or waits for ever
            stream.fail(server_error())
            raise

    stream = VectorStream(count, lambda: task.cancel())
    task = asyncio.get_running_loop().create_task(run(), name="vectors of a server")
    task.add_done_callback(lambda _: place.leave())  # also of one that is cancelled before it begins
    return stream


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


def _prompt_tokens(answer: Mapping[str, Any]) -> int:
    usage = reading.obj(answer.get("usage"), "usage")
    return reading.count(usage.get("prompt_tokens", usage.get("total_tokens")), "prompt_tokens")
