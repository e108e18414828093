"""Streams in great number, on which nothing happens."""

import asyncio
import json

from faulting.mesh import Plan
from faulting.parts import MODEL
from faulting.suite import Bars, Ground, Seen, fault

STREAMS = 5000
WATCHED_S = 10.0
OPENED_AT_ONCE = 100

_HEAD = (
    b"POST /v1/completions HTTP/1.1\r\nhost: x\r\n"
    b"content-type: application/json\r\ncontent-length: %d\r\n\r\n%b"
)


@fault("5,000 open streams on one gateway", Bars())
async def open_streams(ground: Ground) -> Seen:
    """None is ended, and one more request is answered; what they cost is told."""
    workers = {"INFERLOOM_MAX_RUNNING": "3000", "INFERLOOM_MAX_STEP_TOKENS": "3000"}
    settings = {"worker": workers, "gateway": {"INFERLOOM_MAX_IN_FLIGHT": "6000"}}
    async with ground.mesh(Plan(workers=2, spec="echo:delay_ms=600000", settings=settings)) as mesh:
        host, _, port = mesh.url.removeprefix("http://").rpartition(":")
        process = mesh.parts["gateway0"].measured()
        before = process.memory_info().rss
        body = json.dumps({"model": MODEL, "prompt": "x", "stream": True}).encode()
        gate = asyncio.Semaphore(OPENED_AT_ONCE)

        async def begin() -> tuple[asyncio.StreamReader, asyncio.StreamWriter, bool]:
            async with gate:
                reader, writer = await asyncio.open_connection(host, int(port), limit=2**12)
                writer.write(_HEAD % (len(body), body))
                status = await reader.readline()
            return reader, writer, b" 200 " in status

        opened = await asyncio.gather(*(begin() for _ in range(STREAMS)))
        await asyncio.sleep(2)
        after, began = process.memory_info().rss, process.cpu_times()
        await asyncio.sleep(WATCHED_S)
        ended = process.cpu_times()
        lost = sum(not good or reader.at_eof() for reader, _, good in opened)
        for _, writer, _ in opened:
            writer.close()
    used = ended.user + ended.system - began.user - began.system
    each = (after - before) / STREAMS
    share = used / WATCHED_S / STREAMS
    note = f"{each / 1024:.1f} KiB and {share * 1e6:.1f} µs of processor a second for each"
    return Seen(failed=lost, answered=STREAMS - lost, note=note)
