"""A batch of a mesh: what was accepted must be answered."""

import asyncio
import json
import time
from collections import Counter
from typing import Any

import httpx

from faulting.mesh import RunningMesh
from faulting.parts import MODEL, START_LIMIT_S

_PATH = "/v1/chat/completions"
_OVER = ("completed", "failed", "expired", "cancelled")


async def submit(mesh: RunningMesh, lines: int, **more: Any) -> str:
    """Have a batch of so many lines accepted; return its name. ``more`` is in every request."""
    data = "\n".join(_line(number, more) for number in range(lines)).encode()
    async with httpx.AsyncClient(timeout=60) as http:
        files = {"file": ("input.jsonl", data)}
        file = await _ask(http, mesh, "POST", "/v1/files", data={"purpose": "batch"}, files=files)
        asked = {"input_file_id": file.json()["id"], "endpoint": _PATH, "completion_window": "24h"}
        return str((await _ask(http, mesh, "POST", "/v1/batches", json=asked)).json()["id"])


async def missing(mesh: RunningMesh, name: str, lines: int, limit_s: float = 120.0) -> str:
    """Wait for the end of a batch; what is wrong with it, nothing if each line was answered once."""
    deadline = time.monotonic() + limit_s
    async with httpx.AsyncClient(timeout=60) as http:
        while (batch := (await _ask(http, mesh, "GET", f"/v1/batches/{name}")).json())["status"] not in _OVER:
            if time.monotonic() > deadline:
                return f"the batch is not over after {limit_s:g} s: {batch['request_counts']}"
            await asyncio.sleep(0.2)
        if batch["status"] != "completed" or batch.get("output_file_id") is None:
            return f"the batch is {batch['status']}"
        text = (await _ask(http, mesh, "GET", f"/v1/files/{batch['output_file_id']}/content")).text
    found = Counter(json.loads(line)["custom_id"] for line in text.splitlines())
    whole = found == Counter(f"line-{number}" for number in range(lines))
    return "" if whole else f"{found.total()} of {lines} lines of the batch were answered"


def _line(number: int, more: dict[str, Any]) -> str:
    turn = {"role": "user", "content": f"line-{number} says hello"}
    body = {"model": MODEL, "messages": [turn], "max_tokens": 20, **more}
    return json.dumps({"custom_id": f"line-{number}", "method": "POST", "url": _PATH, "body": body})


async def _ask(
    http: httpx.AsyncClient, mesh: RunningMesh, method: str, path: str, **more: Any
) -> httpx.Response:
    """Ask any gateway that answers."""
    deadline = time.monotonic() + START_LIMIT_S
    while True:
        for url in mesh.urls:
            try:
                return (await http.request(method, url + path, **more)).raise_for_status()
            except httpx.TransportError:
                continue
        if time.monotonic() > deadline:
            raise TimeoutError("no gateway answers; see the logs")
        await asyncio.sleep(0.2)
