"""LoRA adapters that vLLM computes."""

import asyncio
import itertools
import threading
import weakref
from dataclasses import dataclass, field
from pathlib import Path

from inferloom_worker.engines.vllm.backend import Backend, DeadError, LoadedAdapter, RefusedError
from inferloom_worker.engines.vllm.loop_thread import LoopThread
from inferloom_worker.lora.config import AdapterError
from inferloom_worker.lora.weights import WEIGHTS_FILE, read_lora

LIMIT_S = 120.0
"""How long vLLM may take to load an adapter."""

_numbers = itertools.count(1)


@dataclass(frozen=True, eq=False)
class VllmAdapter:
    """An :class:`~inferloom_worker.engine.adapter.Adapter`. vLLM keeps its weights, and reads them again
    where they had to make room."""

    folder: Path
    weights_bytes: int
    id: int = field(default_factory=lambda: next(_numbers))

    @property
    def loaded(self) -> LoadedAdapter:
        """As vLLM names it."""
        return LoadedAdapter(f"{self.folder.name}-{self.id}", self.id, str(self.folder))


def read_adapter(folder: Path, max_rank: int) -> VllmAdapter:
    """Check an adapter as every engine's are: its settings and tensors are understood, and no pickles.

    Raises:
        AdapterError: It is not.
    """
    read_lora(folder, max_rank)
    return VllmAdapter(folder.resolve(), (folder / WEIGHTS_FILE).stat().st_size)


class Adapters:
    """Those that vLLM has: each for as long as somebody holds it.

    Args:
        backend: vLLM.
        thread: Its loop.
        max_rank: The highest that it takes; 0: it takes none.
    """

    def __init__(self, backend: Backend, thread: LoopThread, max_rank: int) -> None:
        self._backend = backend
        self._thread = thread
        self._max_rank = max_rank
        self._lock = threading.Lock()
        self._held: list[weakref.ref[VllmAdapter]] = []
        self._closed = False

    @property
    def weights_bytes(self) -> int:
        """What all of them are."""
        return sum(held.weights_bytes for held in (ref() for ref in self._held) if held)

    def load(self, folder: Path) -> VllmAdapter:
        """Have vLLM read one. Blocks.

        Raises:
            AdapterError: It does not take it.
        """
        if not self._max_rank:
            words = "vLLM takes adapters only if it was started with enable_lora=true in the model's spec"
            raise AdapterError(words)
        adapter = read_adapter(folder, self._max_rank)
        try:
            self._thread.result(self._backend.add_adapter(adapter.loaded), LIMIT_S)
        except (RefusedError, TimeoutError) as refused:
            raise AdapterError(f"vLLM does not take {folder.name}: {str(refused)[:400]}") from refused
        except DeadError as dead:
            raise AdapterError("vLLM's engine has ended") from dead
        weakref.finalize(adapter, self._forget, adapter.loaded.number)
        with self._lock:
            self._held = [*(ref for ref in self._held if ref()), weakref.ref(adapter)]
        return adapter

    def close(self) -> None:
        """Have vLLM forget no more of them: it ends."""
        self._closed = True

    def _forget(self, number: int) -> None:
        if not self._closed:
            asyncio.run_coroutine_threadsafe(self._backend.remove_adapter(number), self._thread.loop)
