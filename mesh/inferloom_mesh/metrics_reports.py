"""The metrics of several processes of one service: children report, their parent adds up.

They speak over a socket of the file system, in messages of JSON with their length in front. A child's first
message says what it wants: to report, for as long as it lives, or to read the sum once, because a scrape came
to it. Reports have numbers, so that the parent's answer holds what was done before it was asked.
"""

import asyncio
import json
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from inferloom_mesh.metrics import Family, Metrics, added, lasting, rendered

ANSWER_S = 1.0
"""How long a child may take to report when it is asked; after that its last report counts."""

REPORT_S = 1.0
"""Time between two reports that nobody asked for: what a child that is killed can take along."""

_MOST_BYTES = 64 * 2**20
_BROKEN = (OSError, asyncio.IncompleteReadError, ValueError)


@dataclass(slots=True, eq=False)
class _Child:
    writer: asyncio.StreamWriter
    last: list[Family] = field(default_factory=list)
    answered: int = 0
    news: asyncio.Event = field(default_factory=asyncio.Event)

    async def report(self, number: int) -> None:
        """Wait until it has answered this question."""
        while self.answered < number:
            self.news.clear()
            await self.news.wait()


class Reports:
    """The parent's side."""

    def __init__(self) -> None:
        self._children: set[_Child] = set()
        self._ended: list[Family] = []
        """What children that are gone have counted."""
        self._asked = 0
        self._server: asyncio.Server | None = None

    async def listen(self, path: Path) -> None:
        """Take reports at ``path``, which only this user may reach."""
        self._server = await asyncio.start_unix_server(self._serve, path)

    async def read(self, accept: str) -> tuple[bytes, str]:
        """The sum over all children, past and present, as text, and its media type."""
        return rendered(await self.sum(), accept)

    async def sum(self) -> list[Family]:
        """The sum over all children, past and present."""
        self._asked += 1
        number = self._asked
        asked = set(self._children)
        for child in asked:
            _send(child.writer, number)
        with suppress(TimeoutError):
            async with asyncio.timeout(ANSWER_S):
                await asyncio.gather(*(child.report(number) for child in asked))
        return added([self._ended, *(child.last for child in self._children)])

    def close(self) -> None:
        """Take no more."""
        if self._server is not None:
            self._server.close()
        for child in self._children:
            child.writer.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(*_BROKEN):
            asked = await _receive(reader)
            if isinstance(asked, str):
                body, media_type = await self.read(asked)
                _send(writer, [body.decode(), media_type])
                await writer.drain()
            else:
                await self._follow(reader, _Child(writer))
        writer.close()

    async def _follow(self, reader: asyncio.StreamReader, child: _Child) -> None:
        self._children.add(child)
        try:
            while True:
                number, families = await _receive(reader)
                child.last = [_family(each) for each in families]
                child.answered = max(child.answered, number)
                child.news.set()
        finally:
            self._children.discard(child)
            self._ended = added([self._ended, lasting(child.last)])
            child.answered = self._asked  # nobody waits for it
            child.news.set()


async def report(path: Path, metrics: Metrics) -> None:
    """Report to the parent at ``path`` until cancelled, and a last time then. Ends if the parent is gone."""
    try:
        reader, writer = await asyncio.open_unix_connection(path)
    except OSError:
        return

    def tell(number: int) -> None:
        _send(writer, [number, [_plain(each) for each in metrics.snapshot()]])

    async def answer() -> None:
        while True:
            tell(await _receive(reader))

    _send(writer, None)
    answering = asyncio.create_task(answer())
    try:
        while not answering.done():
            tell(0)
            await asyncio.wait({answering}, timeout=REPORT_S)
    finally:
        answering.cancel()
        await asyncio.gather(answering, return_exceptions=True)
        tell(0)
        writer.close()
        with suppress(OSError, TimeoutError):
            async with asyncio.timeout(ANSWER_S):
                await writer.wait_closed()


async def scrape(path: Path, accept: str) -> tuple[bytes, str]:
    """The sum, as the parent at ``path`` tells it: text and media type.

    Raises:
        OSError: The parent does not answer.
    """
    reader, writer = await asyncio.open_unix_connection(path)
    try:
        _send(writer, accept)
        async with asyncio.timeout(4 * ANSWER_S):
            body, media_type = await _receive(reader)
    except (asyncio.IncompleteReadError, TimeoutError) as failure:
        raise OSError("the gateway's parent does not answer") from failure
    finally:
        writer.close()
    return body.encode(), media_type


def _send(writer: asyncio.StreamWriter, value: object) -> None:
    data = json.dumps(value).encode()
    writer.write(len(data).to_bytes(4, "big") + data)


async def _receive(reader: asyncio.StreamReader) -> Any:
    size = int.from_bytes(await reader.readexactly(4), "big")
    if size > _MOST_BYTES:
        raise ValueError("a message over the limit")
    return json.loads(await reader.readexactly(size))


def _plain(family: Family) -> dict[str, object]:
    return {
        "name": family.name,
        "kind": family.kind,
        "text": family.text,
        "labels": family.labels,
        "bounds": family.bounds,
        "rows": list(family.rows.items()),
        "merged": family.merged,
    }


def _family(plain: dict[str, Any]) -> Family:
    rows: Iterable[tuple[list[str], list[float]]] = plain["rows"]
    return Family(
        plain["name"],
        plain["kind"],
        plain["text"],
        tuple(plain["labels"]),
        tuple(plain["bounds"]),
        {tuple(labels): list(row) for labels, row in rows},
        plain["merged"],
    )
