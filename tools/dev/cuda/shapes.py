"""Decoders of well-known shapes with random weights, made where they are computed."""

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor

from inferloom_worker.models.config import DecoderConfig, LayerConfig
from inferloom_worker.models.decoder_tensors import expected_tensors
from inferloom_worker.models.rope import Rope
from inferloom_worker.weights.checkpoint import StoredTensor


def llama(
    layers: int, hidden: int, heads: int, kv_heads: int, intermediate: int, vocabulary: int, *, tied: bool
) -> DecoderConfig:
    """A Llama of this shape."""
    width = hidden // heads
    frequencies = 1.0 / (500_000.0 ** (torch.arange(0, width, 2).float() / width))
    return DecoderConfig(
        hidden=hidden,
        heads=heads,
        kv_heads=kv_heads,
        head_dim=width,
        intermediate=intermediate,
        vocab_size=vocabulary,
        context_length=8192,
        layers=(LayerConfig(None, 0),) * layers,
        ropes=(Rope(frequencies),),
        activation="silu",
        norm_eps=1e-5,
        norm_offset=0.0,
        post_norms=False,
        embedding_scale=1.0,
        attention_scale=width**-0.5,
        attention_softcap=None,
        final_softcap=None,
        qkv_bias=False,
        output_bias=False,
        mlp_bias=False,
        qk_norms=False,
        tied=tied,
    )


SHAPES = {
    "135M": llama(30, 576, 9, 3, 1536, 49_152, tied=True),
    "1B": llama(16, 2048, 32, 8, 8192, 128_256, tied=True),
    "8B": llama(32, 4096, 32, 8, 14_336, 128_256, tied=False),
}
"""Shapes of SmolLM2-135M, Llama-3.2-1B and Llama-3.1-8B."""


@dataclass(frozen=True, slots=True)
class RandomCheckpoint:
    """A :class:`~inferloom_worker.weights.checkpoint.Checkpoint` of random numbers."""

    shapes: dict[str, tuple[int, ...]]
    dtype: torch.dtype
    device: torch.device

    @classmethod
    def of(cls, config: DecoderConfig, dtype: torch.dtype, device: torch.device) -> "RandomCheckpoint":
        """The tensors that a config implies."""
        shapes = {name: size for alone, _ in expected_tensors(config) for name, size in alone.items()}
        return cls(shapes, dtype, device)

    def names(self) -> Iterable[str]:
        """See the protocol."""
        return self.shapes

    def stored(self, name: str) -> StoredTensor | None:
        """See the protocol."""
        shape = self.shapes.get(name)
        return None if shape is None else StoredTensor(name, shape, "BF16", True)

    def find(self, name: str) -> Tensor | None:
        """See the protocol."""
        shape = self.shapes.get(name)
        if shape is None:
            return None
        made = torch.empty(shape, dtype=self.dtype, device=self.device)
        # A wider head gives a few tokens most of the probability, as training does.
        of_vocabulary = "embed" in name or "head" in name
        return made.fill_(1.0) if len(shape) == 1 else made.normal_(0.0, 0.16 if of_vocabulary else 0.02)
