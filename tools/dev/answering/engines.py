"""The engines that are asked, each behind a gateway of its own."""

import sys
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from faulting.mesh import Plan, RunningMesh
from faulting.parts import MODEL, free_ports
from peers.process import server as process_of
from serving_vllm.plan import Vllm, beside, in_workers, ready, server

from inferloom_worker.sourcing import demo

DEMO = "smollm2-135m-instruct"
CONTEXT = 4096
SLOTS = 8

_SERVER = "&".join(
    (
        "enable_auto_tool_choice=true&tool_call_parser=hermes",
        'structured_outputs_config={"backend":"xgrammar","disable_any_whitespace":true}',
    )
)
"""Without a parser, vLLM's server refuses tools; and a small model fills JSON with white space until it is
cut, where it may."""

TORCH, INSIDE, VLLM, LLAMA = "torch", "vllm", "sidecar-vllm", "sidecar-llama"


@dataclass(frozen=True)
class Given:
    """What there is."""

    python: Path | None
    """Interpreter of an environment with vLLM."""
    model: Path | None
    """Folder of vLLM's model."""
    query: str
    """Arguments of vLLM's engine."""
    llama: Path | None
    """The program llama-server."""
    folder: Path
    """Takes logs, in a folder for each engine."""
    threads: int = 0
    """Threads that the servers compute with. 0: their own choice."""

    def has(self, name: str) -> bool:
        """Whether there is what an engine needs."""
        return name == TORCH or (self.llama if name == LLAMA else self.python) is not None

    @property
    def vllm(self) -> Vllm:
        """vLLM's installation."""
        assert self.python is not None
        return Vllm(python=self.python, threads=self.threads)

    @property
    def whole(self) -> str:
        """Arguments of vLLM's engine with those that all sides have."""
        return f"max_model_len={CONTEXT}&max_num_seqs={SLOTS}&{self.query}"


At = tuple[str, str]
"""The address of OpenAI's endpoints, and the model's name there."""


@asynccontextmanager
async def _mesh(given: Given, name: str, plan: Plan) -> AsyncIterator[At]:
    async with RunningMesh(Path(sys.executable), given.folder / name, plan) as mesh:
        yield f"{mesh.url}/v1", MODEL


@asynccontextmanager
async def torch(given: Given) -> AsyncIterator[At]:
    """The project's own engine on the demo model."""
    plan = Plan(workers=1, spec=DEMO, settings={"worker": {"INFERLOOM_CONTEXT_LENGTH": str(CONTEXT)}})
    async with _mesh(given, TORCH, plan) as at:
        yield at


@asynccontextmanager
async def vllm_inside(given: Given) -> AsyncIterator[At]:
    """vLLM inside of a worker."""
    assert given.model is not None
    spec = f"vllm:{given.model.resolve()}?{given.whole}"
    async with _mesh(given, INSIDE, in_workers(given.vllm, spec, given.folder / INSIDE)) as at:
        yield at


@asynccontextmanager
async def vllm_beside(given: Given) -> AsyncIterator[At]:
    """vLLM's own server as a sidecar."""
    assert given.model is not None
    folder = given.folder / VLLM
    with server(given.vllm, given.model.resolve(), MODEL, f"{given.whole}&{_SERVER}", folder) as (child, url):
        await ready(child, url, folder)
        async with _mesh(given, VLLM, beside(url)) as at:
            yield at


@asynccontextmanager
async def llama_beside(given: Given) -> AsyncIterator[At]:
    """llama.cpp's server as a sidecar, on the demo model's file."""
    assert given.llama is not None
    (port,) = free_ports(1)
    address = f"127.0.0.1:{port}"
    command = [str(given.llama), "-m", str(demo.fetch(DEMO)), "-a", MODEL, "--host", "127.0.0.1"]
    command += ["--port", str(port), "-np", str(SLOTS), "-c", str(SLOTS * CONTEXT)]
    command += ["-t", str(given.threads)] if given.threads else []
    libraries = str(given.llama.parent)
    log = given.folder / LLAMA / "server.log"
    with process_of(command, f"{address}/health", log, 300, LD_LIBRARY_PATH=libraries):
        async with _mesh(given, LLAMA, beside(f"http://{address}/v1")) as at:
            yield at


ENGINES: Mapping[str, Callable[[Given], AbstractAsyncContextManager[At]]] = {
    TORCH: torch,
    INSIDE: vllm_inside,
    VLLM: vllm_beside,
    LLAMA: llama_beside,
}
