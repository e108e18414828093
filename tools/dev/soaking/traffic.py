"""Mixed requests, good and bad, drawn by chance from a seed."""

import asyncio
import random
from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import suppress

import orjson

from inferloom_cli.benchmark.connection import Connection, HttpError, connect
from inferloom_cli.benchmark.endpoint import Endpoint
from inferloom_cli.benchmark.prompts import passage, story, words

_LIMIT_S = 120.0

BAD: tuple[tuple[str, bytes], ...] = (
    ("chat/completions", b'{"model": "'),
    ("chat/completions", b'{"model": "CHAT", "messages": []}'),
    ("chat/completions", b'{"model": "CHAT", "messages": "hello"}'),
    ("chat/completions", b'{"model": "none such", "messages": [{"role": "user", "content": "a"}]}'),
    (
        "chat/completions",
        b'{"model": "CHAT", "messages": [{"role": "user", "content": "a"}], "temperature": 9}',
    ),
    (
        "chat/completions",
        b'{"model": "CHAT", "messages": [{"role": "user", "content": "a"}], "max_tokens": 0}',
    ),
    ("completions", b'{"model": "CHAT", "prompt": "a", "max_tokens": 9999999}'),
    ("embeddings", b'{"model": "EMBED", "input": []}'),
    ("embeddings", b'{"model": "CHAT", "input": 7}'),
    ("nowhere", b"{}"),
)
"""Requests that must be answered with a 4xx."""


class Traffic:
    """One client after another, each request of a kind of its own.

    Attributes:
        counts: Requests by kind.
        wrong: Answers that should not have been, by their description.
    """

    def __init__(self, endpoint: Endpoint, chat: str, embedder: str, seed: int) -> None:
        self.counts: Counter[str] = Counter()
        self.wrong: Counter[str] = Counter()
        self._endpoint = endpoint
        self._chat, self._embedder = chat, embedder
        self._random = random.Random(seed)
        self._number = seed * 1_000_000
        self._kinds: tuple[tuple[int, str, Callable[[], Awaitable[None]]], ...] = (
            (6, "stream", self._stream),
            (3, "several choices", self._choices),
            (3, "cancelled", self._cancelled),
            (2, "completion", self._completion),
            (3, "embedding", self._embedding),
            (2, "bad input", self._bad),
        )

    async def run(self, until: asyncio.Event) -> None:
        """Send requests, one at a time, until the event is set."""
        weights = [weight for weight, _, _ in self._kinds]
        while not until.is_set():
            [(_, kind, send)] = self._random.choices(self._kinds, weights)
            self.counts[kind] += 1
            try:
                async with asyncio.timeout(_LIMIT_S):
                    await send()
            except (HttpError, OSError, ValueError) as failure:
                self.wrong[f"{kind}: {str(failure) or 'no answer in time'}"] += 1

    async def _stream(self) -> None:
        await self._post("chat/completions", self._question() | {"stream": True})

    async def _choices(self) -> None:
        await self._post("chat/completions", self._question() | {"n": self._random.randint(2, 4)})

    async def _completion(self) -> None:
        body = {"model": self._chat, "prompt": self._text(), "max_tokens": self._random.randint(1, 64)}
        await self._post("completions", body | self._manner())

    async def _embedding(self) -> None:
        texts = [passage(self._next()) for _ in range(self._random.choice((1, 1, 4, 32)))]
        await self._post("embeddings", {"model": self._embedder, "input": texts})

    async def _bad(self) -> None:
        path, body = self._random.choice(BAD)
        body = body.replace(b"CHAT", self._chat.encode()).replace(b"EMBED", self._embedder.encode())
        try:
            await self._send(path, body)
        except HttpError as refusal:
            if not str(refusal).startswith("status 4"):
                raise
        else:
            self.wrong[f"taken, though it is wrong: {body.decode()}"] += 1

    async def _cancelled(self) -> None:
        """Go away before the first byte, or after a few pieces."""
        pieces = self._random.choice((0, 1, 5, 20))
        heard = asyncio.Event()
        left = pieces

        def hear(piece: bytes, now: float) -> None:
            nonlocal left
            left -= 1
            if left <= 0:
                heard.set()

        body = orjson.dumps(self._question() | {"stream": True, "max_tokens": 256})
        connection = await connect(self._endpoint)
        answer = asyncio.create_task(self._exchange(connection, "chat/completions", body, hear))
        gone = asyncio.create_task(heard.wait() if pieces else asyncio.sleep(self._random.random() / 10))
        await asyncio.wait({answer, gone}, return_when=asyncio.FIRST_COMPLETED)
        for task in (gone, answer):
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task

    async def _post(self, path: str, body: dict[str, object]) -> None:
        await self._send(path, orjson.dumps(body))

    async def _send(self, path: str, body: bytes) -> None:
        connection = await connect(self._endpoint)
        await self._exchange(connection, path, body, lambda piece, now: None)

    async def _exchange(
        self, connection: Connection, path: str, body: bytes, hear: Callable[[bytes, float], None]
    ) -> None:
        try:
            await connection.exchange(self._endpoint.request("POST", path, body), hear)
        finally:
            connection.close()

    def _question(self) -> dict[str, object]:
        messages = [{"role": "user", "content": self._text()}]
        system = self._random.choice((None, "Be brief.", words(200, 1)))
        if system is not None:
            messages.insert(0, {"role": "system", "content": system})
        asked = {"model": self._chat, "messages": messages, "max_tokens": self._random.randint(1, 96)}
        return asked | self._manner()

    def _manner(self) -> dict[str, object]:
        if self._random.random() < 0.5:
            return {"temperature": 0}
        return {"temperature": 1.1, "top_p": 0.9, "seed": self._next()}

    def _text(self) -> str:
        number, length = self._next(), self._random.choice((0, 0, 20, 200, 1000))
        return f"{story(number)} {words(length, number)}" if length else story(number)

    def _next(self) -> int:
        self._number += 1
        return self._number
