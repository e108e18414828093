"""A closed loop: each client sends its next request when its last one is answered."""

import asyncio
import time
from collections.abc import Iterator
from contextlib import suppress

import orjson

from inferloom_cli.benchmark.answer import Answer, BodyReader, StreamReader
from inferloom_cli.benchmark.connection import Connection, HttpError, OnBody, UnansweredError, connect
from inferloom_cli.benchmark.endpoint import Endpoint
from inferloom_cli.benchmark.load import PATHS, Load


async def run(endpoint: Endpoint, load: Load) -> tuple[list[Answer], float]:
    """Put the load on a server; return all answers, and how many seconds it took from first to last."""
    path = PATHS[load.api]
    bodies = [orjson.dumps(load.body(number)) for number in range(load.total)]
    requests = iter([endpoint.request("POST", path, body) for body in bodies])  # made before the clock starts
    answers: list[Answer] = []
    began = time.perf_counter()
    async with asyncio.TaskGroup() as clients:
        for _ in range(min(load.clients, load.total)):
            clients.create_task(_client(endpoint, load, requests, answers))
    return answers, time.perf_counter() - began


async def _client(endpoint: Endpoint, load: Load, requests: Iterator[bytes], answers: list[Answer]) -> None:
    caller = Caller(endpoint, load.timeout, keep_alive=load.keep_alive)
    try:
        answers += [await caller.ask(request, streamed=load.api != "embeddings") for request in requests]
    finally:
        caller.close()


class Caller:
    """One client, which sends one request at a time."""

    def __init__(self, endpoint: Endpoint, timeout: float, *, keep_alive: bool = True) -> None:
        self._endpoint = endpoint
        self._timeout = timeout
        self._keep_alive = keep_alive
        self._connection: Connection | None = None

    async def ask(self, request: bytes, *, streamed: bool) -> Answer:
        """Send a request and read its answer; whatever goes wrong is the answer's failure."""
        answer = Answer(began=time.perf_counter())
        reader = StreamReader(answer) if streamed else BodyReader(answer)
        try:
            async with asyncio.timeout(self._timeout):
                await self._exchange(request, reader.feed)
            reader.end()
        except TimeoutError:
            answer.failure = f"no end within {self._timeout:g} s"
        except (OSError, HttpError, ValueError) as failure:
            answer.failure = str(failure) or type(failure).__name__
        answer.ended = time.perf_counter()
        if not self._keep_alive:
            self.close()
        return answer

    async def _exchange(self, request: bytes, on_body: OnBody) -> None:
        if self._connection is not None and self._connection.idle:
            # A server may close a connection that it has kept for long enough, also just now.
            with suppress(UnansweredError):
                await self._connection.exchange(request, on_body)
                return
        self._connection = await connect(self._endpoint)
        await self._connection.exchange(request, on_body)

    def close(self) -> None:
        """End its connection."""
        if self._connection is not None:
            self._connection.close()
