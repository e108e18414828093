"""Batches in a store, and what runners do with them there."""

import json
import time
from pathlib import Path

from inferloom_gateway.batching.steps import do_step
from inferloom_gateway.settings import GatewaySettings
from inferloom_gateway.storage import batch_chunks, batch_lifecycle, batch_work, runners
from inferloom_gateway.storage.batch_chunks import Chunk
from inferloom_gateway.storage.batch_results import Result
from inferloom_gateway.storage.batch_work import Work
from inferloom_gateway.storage.batches import Batches
from inferloom_gateway.storage.kinds import FILES
from inferloom_gateway.storage.rows import Row
from inferloom_gateway.storage.store import Store
from inferloom_mesh.errors import InferloomError

CHAT = "/v1/chat/completions"
LINES = 20


async def accepted(store: Store, tenant: str = "", model: str = "m") -> str:
    """A batch of twenty lines."""
    lines = [
        json.dumps({"custom_id": str(n), "method": "POST", "url": CHAT, "body": {"model": model}})
        for n in range(1, LINES + 1)
    ]
    data = "\n".join(lines).encode()
    name = store.documents(FILES).new_id()
    with store.contents.create() as incoming:
        incoming.write(data)
        incoming.complete()
        store.contents.keep(incoming, name)
    row = Row(
        id=name, tenant=tenant, created=time.time(), status="batch", document=b"{}", content_bytes=len(data)
    )
    await store.documents(FILES).put(row)
    asked = {"endpoint": CHAT, "input_file_id": name, "completion_window": "24h"}
    batch = await Batches(store).accept(tenant, asked, {"key_id": "", "file_age_s": None}, 3600)
    return str(batch["id"])


def there(model: str) -> InferloomError | None:
    """All models exist."""
    return None


async def join(store: Store, runner: str) -> None:
    """Let a runner be known."""
    await store.database.write(lambda at: runners.join(at, runner))


async def claimed(store: Store, runner: str) -> Work:
    """A step for a runner."""
    await join(store, runner)
    work = await store.database.write(lambda at: batch_work.claim(at, runner))
    assert work is not None
    return work


async def put(store: Store, chunk: Chunk, line: int, *, by: str = "", failed: bool = False) -> bool:
    """Store a line's result."""
    result = Result(line, failed, {"input": 1, "output": 2}, f'{{"line":{line},"by":"{by}"}}\n'.encode())
    return await store.database.write(lambda at: batch_lifecycle.keep(at, chunk, result, 1, 2**40))


async def chunk_of(store: Store, runner: str) -> tuple[Chunk, frozenset[int]] | None:
    """Lines for a runner."""
    await join(store, runner)
    return await store.database.write(lambda at: batch_chunks.claim(at, runner))


def contents(folder: Path) -> set[str]:
    """The files in a store's folder."""
    return {path.name for path in folder.glob("contents/*/file-*")}


async def running(store: Store, tenant: str = "") -> str:
    """A batch whose lines are run."""
    batch = await accepted(store, tenant)
    await do_step(store, "a", await claimed(store, "a"), GatewaySettings(), there)
    return batch
