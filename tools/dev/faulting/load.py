"""Clients that ask all the time, and note what was lost and how long nothing came."""

import asyncio
import itertools
import re
import time
from dataclasses import dataclass, field

import httpx

from faulting.parts import MODEL

TOKENS = 100

CONNECT_LIMIT_S = 60.0


@dataclass
class Tally:
    """How requests of one kind went."""

    answered: int = 0
    lost_before: int = 0
    """Lost before any text came."""
    lost_midway: int = 0
    """Streams that broke off after text had come."""
    silence_s: float = 0.0
    """Longest time in which nothing came that somebody waited for."""
    errors: dict[str, int] = field(default_factory=dict)

    def lost(self, why: str, *, midway: bool) -> None:
        """Count a lost request."""
        self.errors[why] = self.errors.get(why, 0) + 1
        if midway:
            self.lost_midway += 1
        else:
            self.lost_before += 1


class Load:
    """So many clients that stream and as many that do not, each asking again when it was answered."""

    def __init__(self, url: str, clients: int) -> None:
        self.streams = Tally()
        self.calls = Tally()
        self._url = url
        self._clients = clients
        self._numbers = itertools.count()
        self._ending = asyncio.Event()

    async def run(self) -> None:
        """Ask until :meth:`end`, and then to the end of what is running."""
        async with asyncio.TaskGroup() as tasks:
            for _ in range(self._clients):
                tasks.create_task(self._loop(self.streams, streamed=True))
                tasks.create_task(self._loop(self.calls, streamed=False))

    def end(self) -> None:
        """Ask nothing new."""
        self._ending.set()

    async def _loop(self, tally: Tally, *, streamed: bool) -> None:
        async with httpx.AsyncClient(base_url=self._url, timeout=None) as http:
            while not self._ending.is_set():
                await self._ask(http, tally, streamed=streamed)

    async def _ask(self, http: httpx.AsyncClient, tally: Tally, *, streamed: bool) -> None:
        body = {
            "model": MODEL,
            "messages": [{"role": "user", "content": f"prompt {next(self._numbers)} of a client"}],
            "max_tokens": TOKENS,
            "stream": streamed,
        }
        text, last = b"", time.monotonic()
        deadline = last + CONNECT_LIMIT_S
        while True:
            try:
                async with http.stream("POST", "/v1/chat/completions", json=body) as response:
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
                tally.lost(type(failure).__name__, midway=b'"content":"p' in text)
                await asyncio.sleep(0.1)
                return
        if status == 200 and (not streamed or text.endswith(b"[DONE]\n\n")):
            tally.answered += 1
        else:
            tally.lost(_code(text, status), midway=streamed and b'"content"' in text)
            await asyncio.sleep(0.1)


def _code(text: bytes, status: int) -> str:
    code = re.search(rb'"code":"(\w+)"', text)
    return f"{status} {code[1].decode() if code else ''}"
