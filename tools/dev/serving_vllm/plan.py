"""Meshes and servers with vLLM in them: how each is started from this source tree."""

import asyncio
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl

import httpx
from faulting.mesh import Plan
from faulting.parts import MODEL, free_ports
from peers.process import check, process

if TYPE_CHECKING:
    import subprocess

ROOT = Path(__file__).resolve().parents[3]

START_LIMIT_S = 900.0

SERVER_LOG = "vllm.log"

_METADATA = "Metadata-Version: 2.1\nName: inferloom\nVersion: 0\n"


@dataclass(frozen=True, kw_only=True)
class Vllm:
    """An installed vLLM, and how it is to run."""

    python: Path
    """Interpreter of the environment that has it."""
    threads: int = 0
    """Threads that it computes with on a processor; they wait for each other at every step of a layer, so
    that on a busy machine one is faster than several. 0: as many as it takes."""
    cache_gib: int = 1
    """State that it keeps on a processor."""

    @property
    def environment(self) -> dict[str, str]:
        """Variables that it is started with."""
        own = {"HF_HUB_OFFLINE": "1", "VLLM_NO_USAGE_STATS": "1"}
        own["VLLM_CPU_KVCACHE_SPACE"] = str(self.cache_gib)
        if self.threads:
            own["OMP_NUM_THREADS"] = str(self.threads)
            own["VLLM_CPU_OMP_THREADS_BIND"] = "nobind"
        return own


def worker_settings(vllm: Vllm, folder: Path) -> dict[str, str]:
    """Variables of a worker that runs in vLLM's environment and comes from this tree.

    Args:
        vllm: The installation.
        folder: Takes what tells that environment that the project is installed.
    """
    installed = folder / "installed" / "inferloom-0.dist-info"
    installed.mkdir(parents=True, exist_ok=True)
    (installed / "METADATA").write_text(_METADATA)
    source = [str(ROOT / part) for part in ("protos", "mesh", "registry", "worker", "gateway", "tools")]
    return {"PYTHONPATH": os.pathsep.join([*source, str(installed.parent)]), **vllm.environment}


def in_workers(vllm: Vllm, spec: str, folder: Path, workers: int = 1) -> Plan:
    """A mesh of workers that have vLLM inside."""
    return Plan(
        workers=workers,
        spec=spec,
        worker_python=vllm.python,
        settings={"worker": worker_settings(vllm, folder)},
        start_limit_s=START_LIMIT_S,
    )


def beside(url: str, workers: int = 1) -> Plan:
    """A mesh whose workers stand beside a server, which may still start."""
    return Plan(workers=workers, spec=f"sidecar:{url}?model={MODEL}", start_limit_s=START_LIMIT_S)


@contextmanager
def server(
    vllm: Vllm, model: Path, name: str, query: str, folder: Path
) -> Iterator[tuple["subprocess.Popen[bytes]", str]]:
    """vLLM's own server inside the block; it may not be ready yet.

    Args:
        vllm: The installation.
        model: Folder of its model.
        name: What it calls the model.
        query: Further arguments of the engine, as a worker's spec has them.
        folder: Takes its log.

    Yields:
        Its process, and the address of its OpenAI endpoints.
    """
    (port,) = free_ports(1)
    command = [str(vllm.python), "-m", "vllm.entrypoints.openai.api_server", "--model", str(model)]
    command += ["--served-model-name", name, "--host", "127.0.0.1", "--port", str(port), *_flags(query)]
    with process(command, folder / SERVER_LOG, vllm.environment) as child:
        yield child, f"http://127.0.0.1:{port}/v1"


async def ready(child: "subprocess.Popen[bytes]", url: str, folder: Path) -> None:
    """Wait until a server answers.

    Raises:
        DidNotStartError: It ended, or it took too long.
    """
    deadline = time.monotonic() + START_LIMIT_S
    async with httpx.AsyncClient(timeout=5) as http:
        while True:
            with suppress(httpx.TransportError):
                if (await http.get(f"{url.removesuffix('/v1')}/health")).status_code == 200:
                    return
            check(child, folder / SERVER_LOG, deadline)
            await asyncio.sleep(0.5)


def _flags(query: str) -> Iterator[str]:
    for name, value in parse_qsl(query):
        flag = f"--{name.replace('_', '-')}"
        yield flag if value == "true" else f"{flag}={value}"
