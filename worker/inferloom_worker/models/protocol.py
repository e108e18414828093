"""What the engine asks of a model."""

from typing import Protocol, runtime_checkable

import torch
from torch import Tensor

from inferloom_worker.engine.adapter import Adapter
from inferloom_worker.lora.weights import LoraWeights
from inferloom_worker.stepping.batch import StepBatch
from inferloom_worker.stepping.sampler import Chooser


class UnsupportedModelError(ValueError):
    """The model cannot be served; the message says why."""


class CausalModel(Protocol):
    """A decoder whose sequence state lives in a paged cache that the engine owns the blocks of."""

    vocab_size: int
    context_length: int
    dtype: torch.dtype
    """What products are computed in."""
    device: torch.device

    @property
    def chooser(self) -> Chooser:
        """What chooses tokens from this model's logits."""
        ...

    @property
    def weights_bytes(self) -> int:
        """Bytes of weights in memory."""
        ...

    @property
    def kv_bytes_per_token(self) -> int:
        """Bytes of state that one token takes over all layers."""
        ...

    def allocate(self, blocks: int) -> None:
        """Make the paged cache, ``blocks`` blocks of ``BLOCK_TOKENS`` tokens. Called once, before forward."""
        ...

    def adapter(self, weights: LoraWeights) -> Adapter:
        """Make an adapter of this model; steps may ask for it from then on. Callable from any thread.

        Raises:
            AdapterError: The model has no such modules.
        """
        ...

    def forward(self, batch: StepBatch) -> Tensor:
        """Compute a step, each span with its adapter: write the state of its tokens, return float32 logits
        [R, vocab_size] of ``batch.sample_rows``."""
        ...


@runtime_checkable
class EmbeddingModel(Protocol):
    """A :class:`CausalModel` that shows its states."""

    hidden_size: int
    """Width of a state."""

    def hidden(self, batch: StepBatch) -> Tensor:
        """Compute a step as forward does, and return float32 states [R, hidden_size] of ``batch.sample_rows``
        after the last layer's norm."""
        ...
