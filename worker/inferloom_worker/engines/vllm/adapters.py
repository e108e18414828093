"""LoRA adapters that vLLM computes."""

import itertools
from dataclasses import dataclass, field
from pathlib import Path

from inferloom_worker.engines.vllm.backend import LoadedAdapter
from inferloom_worker.lora.weights import WEIGHTS_FILE, read_lora

_numbers = itertools.count(1)


@dataclass(frozen=True, eq=False)
class VllmAdapter:
    """An :class:`~inferloom_worker.engine.protocol.Adapter`. vLLM keeps its weights, and reads them again
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
