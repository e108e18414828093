"""What a machine runs out of."""

import asyncio
import contextlib
import json
import os
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx

from faulting.load import expected, said
from faulting.mesh import Plan
from faulting.parts import MODEL
from faulting.suite import Bars, Ground, Seen, fault, seen, under_load

DESCRIPTORS = 160
"""That a gateway may have; of these it has about thirty to itself."""

_HELLO = {"model": MODEL, "messages": [{"role": "user", "content": "hello"}]}


@fault("gateway out of descriptors: more connections than it may have", Bars(), quick=True)
async def descriptors(ground: Ground) -> Seen:
    """Who comes meanwhile is told so or waits; nobody who is there is lost, and it does not spin."""
    limit = ("prlimit", f"--nofile={DESCRIPTORS}:{DESCRIPTORS}")
    async with ground.mesh(Plan(wrapped={"gateway0": limit})) as mesh, under_load(mesh, 4) as load:
        process = mesh.parts["gateway0"].measured()
        host, _, port = mesh.url.removeprefix("http://").rpartition(":")
        held = []
        for _ in range(2 * DESCRIPTORS):
            with contextlib.suppress(OSError):
                held.append(socket.create_connection((host, int(port)), timeout=1))
        await asyncio.sleep(1)
        status = await _status(mesh.url)
        before = process.cpu_times()
        await asyncio.sleep(2)
        after = process.cpu_times()
        for each in held:
            each.close()
        began = time.monotonic()
        while await _status(mesh.url) != 200 and time.monotonic() - began < 10:
            pass  # each look takes its time
        recovered = time.monotonic() - began
        alive = process.is_running()
    used = (after.user + after.system - before.user - before.system) / 2
    wrong = []
    if not alive or recovered >= 10:
        wrong.append("it did not recover within 10 s")
    if status not in (200, 503):
        wrong.append(f"one connection too many was told {status}")
    if used > 0.8:
        wrong.append(f"it used {used:.0%} of a core meanwhile")
    note = f"{len(held)} connections, one more was told {status}, {used:.0%} of a core"
    return seen(load, note=note, wrong=tuple(wrong))


@fault("disk full for the logs and the store of a gateway", Bars(), quick=True)
async def disk(ground: Ground) -> Seen:
    """Answers go on, what is to be stored is refused with 507, and stored again once there is room."""
    if os.geteuid():
        return Seen(failed=0, answered=0, note="not run: mounting a small disk needs root")
    small = ground.folder / "small"
    with _disk(small, "24m"):
        settings = {"gateway": {"INFERLOOM_STORE_SPARE_BYTES": str(2**20)}}
        mesh = ground.mesh(Plan(settings=settings))
        gateway = mesh.parts["gateway0"]
        gateway.folder = small
        gateway.env = {**gateway.env, "INFERLOOM_STORE": str(small / "store")}
        async with mesh, under_load(mesh, 4) as load:
            first = await _upload(mesh.url)
            with (small / "filler").open("wb") as filler, contextlib.suppress(OSError):
                while True:
                    filler.write(bytes(2**16))
                    filler.flush()
            refused = await _upload(mesh.url)
            await asyncio.sleep(2)
            (small / "filler").unlink()
            again = await _upload(mesh.url)
    wrong = () if (first, refused, again) == (200, 507, 200) else (f"uploads: {first}, {refused}, {again}",)
    return seen(
        load, note="uploads before, while full and after: 200, 507, 200" if not wrong else "", wrong=wrong
    )


@contextmanager
def _disk(at: Path, size: str) -> Iterator[None]:
    at.mkdir(parents=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(at)], check=True)
    try:
        yield
    finally:
        subprocess.run(["umount", "-l", str(at)], check=False)


async def _upload(url: str) -> int:
    request = {"custom_id": "a", "method": "POST", "url": "/v1/completions", "body": {"model": MODEL}}
    line = json.dumps(request).encode() + b"\n"
    async with httpx.AsyncClient(timeout=30) as http:
        files = {"file": ("lines.jsonl", line * 1000)}
        return (await http.post(f"{url}/v1/files", data={"purpose": "batch"}, files=files)).status_code


async def _status(url: str) -> int:
    """What a new connection is told; 0: nothing, or it is closed."""
    try:
        async with httpx.AsyncClient(timeout=5) as http:
            answer = await http.post(f"{url}/v1/chat/completions", json=_HELLO)
    except httpx.TransportError:
        return 0
    if answer.status_code == 200 and said(answer.content) != expected("hello"):
        return -1
    return answer.status_code
