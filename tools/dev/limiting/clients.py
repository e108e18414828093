"""Clients that ask all the time, as often as they are let in."""

import asyncio
import time
from dataclasses import dataclass, field

import httpx

from limiting.minutes import Admitted

PAUSE_S = 0.1
"""How long a client waits that was refused: far shorter than it is told, so that room is taken at once."""


@dataclass
class Crowd:
    """Clients with one key, spread over some gateways."""

    urls: list[str]
    key: str
    body: dict[str, object]
    admitted: list[Admitted] = field(default_factory=list)
    refused: int = 0
    failed: list[str] = field(default_factory=list)
    began: float = 0.0
    ended: float = 0.0

    async def run(self, clients: int, seconds: float) -> None:
        """Ask for so long, with so many clients at once, each on a connection of its own."""
        self.began = time.monotonic()
        self.ended = self.began + seconds
        async with asyncio.TaskGroup() as tasks:
            for number in range(clients):
                tasks.create_task(self._client(self.urls[number % len(self.urls)]))

    async def _client(self, url: str) -> None:
        headers = {"authorization": f"Bearer {self.key}"}
        async with httpx.AsyncClient(base_url=url, headers=headers, timeout=30) as http:
            while (sent := time.monotonic()) < self.ended:
                answer = await http.post("/v1/completions", json=self.body)
                if answer.status_code == 200:
                    used = answer.json()["usage"]["total_tokens"]
                    self.admitted.append(Admitted(sent, time.monotonic(), used))
                elif answer.status_code == 429:
                    self.refused += 1
                    await asyncio.sleep(PAUSE_S)
                else:
                    self.failed.append(f"{answer.status_code}: {answer.text[:200]}")
                    await asyncio.sleep(PAUSE_S)
