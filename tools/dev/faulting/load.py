"""Clients that ask all the time, and note what was lost or wrong, and how long nothing came."""

import asyncio
import itertools
import json
import re
import time
from collections.abc import Sequence
from dataclasses import dataclass, field

import httpx

from faulting.parts import MODEL

TOKENS = 200
"""More than an answer has: the echo engine says the prompt, a token each byte, up to its end."""

REPEATS = 4
"""How often a prompt says the same, which makes answers of about a hundred tokens."""

CONNECT_LIMIT_S = 60.0

READINESS_S = 0.1
"""How often gateways are asked whether they are ready, where there are several."""

_CONTENT = re.compile(r'"content":("(?:[^"\\]|\\.)*")')


@dataclass
class Tally:
    """How requests of one kind went."""

    answered: int = 0
    lost_before: int = 0
    """Lost before any text came."""
    lost_midway: int = 0
    """Streams that broke off after text had come."""
    wrong: int = 0
    """Answered, and not with what the model says undisturbed."""
    silence_s: float = 0.0
    """Longest time in which nothing came that somebody waited for."""
    errors: dict[str, int] = field(default_factory=dict)

    @property
    def failed(self) -> int:
        """Requests that did not get their answer."""
        return self.lost_before + self.lost_midway + self.wrong

    def lost(self, why: str, *, midway: bool) -> None:
        """Count a lost request."""
        self.errors[why] = self.errors.get(why, 0) + 1
        if midway:
            self.lost_midway += 1
        else:
            self.lost_before += 1


class Load:
    """So many clients that stream and as many that do not, each asking again when it was answered.

    They are dealt out to the gateways that are ready, as a balancer of connections does it. Where there is
    one gateway, they wait for it.
    """

    def __init__(self, urls: str | Sequence[str], clients: int, repeats: int = REPEATS) -> None:
        self.streams = Tally()
        self.calls = Tally()
        self._urls = [urls] if isinstance(urls, str) else list(urls)
        self._ready = list(self._urls)
        self._clients = clients
        self._repeats = repeats
        self._numbers = itertools.count()
        self._ending = asyncio.Event()

    async def run(self) -> None:
        """Ask until :meth:`end`, and then to the end of what is running."""
        async with asyncio.TaskGroup() as tasks:
            watching = tasks.create_task(self._watch())
            async with asyncio.TaskGroup() as clients:
                for _ in range(self._clients):
                    clients.create_task(self._loop(self.streams, streamed=True))
                    clients.create_task(self._loop(self.calls, streamed=False))
            watching.cancel()

    def end(self) -> None:
        """Ask nothing new."""
        self._ending.set()

    async def _watch(self) -> None:
        if len(self._urls) == 1:
            return
        async with httpx.AsyncClient(timeout=2) as http:
            while True:
                ready = [url for url in self._urls if await _is_ready(http, url)]
                self._ready = ready or self._urls
                await asyncio.sleep(READINESS_S)

    async def _loop(self, tally: Tally, *, streamed: bool) -> None:
        async with httpx.AsyncClient(timeout=None) as http:
            while not self._ending.is_set():
                await self._ask(http, tally, streamed=streamed)

    async def _ask(self, http: httpx.AsyncClient, tally: Tally, *, streamed: bool) -> None:
        number = next(self._numbers)
        prompt = f"prompt {number} of a client; " * self._repeats
        body = {
            "model": MODEL,
            "messages": [{"role": "user", "content": prompt}],
            "max_tokens": TOKENS,
            "stream": streamed,
        }
        text, last = b"", time.monotonic()
        deadline = last + CONNECT_LIMIT_S
        while True:
            url = self._ready[number % len(self._ready)] + "/v1/chat/completions"
            try:
                async with http.stream("POST", url, json=body) as response:
                    status = response.status_code
                    async for piece in response.aiter_raw():
                        now = time.monotonic()
                        tally.silence_s = max(tally.silence_s, now - last)
                        text, last = text + piece, now
                break
            except httpx.ConnectError:  # nobody listens: any client waits and tries again
                if time.monotonic() > deadline:
                    tally.lost("not listening", midway=False)
                    return
                await asyncio.sleep(0.1)
            except httpx.TransportError as failure:
                tally.silence_s = max(tally.silence_s, time.monotonic() - last)
                tally.lost(type(failure).__name__, midway=_has_text(text))
                await asyncio.sleep(0.1)
                return
        if status != 200 or (streamed and not text.endswith(b"[DONE]\n\n")):
            tally.lost(_code(text, status), midway=streamed and _has_text(text))
            await asyncio.sleep(0.1)
        elif said(text) != expected(prompt):
            tally.wrong += 1
        else:
            tally.answered += 1


def said(body: bytes) -> str:
    """The text of a chat completion, streamed or not."""
    return "".join(json.loads(each) for each in _CONTENT.findall(body.decode()))


def expected(prompt: str) -> str:
    """What the echo engine answers to a prompt."""
    return f"user\n{prompt}"


def _has_text(body: bytes) -> bool:
    return b'"content":"u' in body


async def _is_ready(http: httpx.AsyncClient, url: str) -> bool:
    try:
        return (await http.get(f"{url}/health/ready")).status_code == 200
    except httpx.TransportError:
        return False


def _code(text: bytes, status: int) -> str:
    code = re.search(rb'"code":"(\w+)"', text)
    return f"{status} {code[1].decode() if code else ''}".strip()
