"""Llama-shaped decoders computed by the kernel library."""

import ctypes
import math
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from inferloom_worker.engine.batch import StepBatch
from inferloom_worker.engine.protocol import Sampling
from inferloom_worker.engine.sampler import Chooser
from inferloom_worker.kernels.library import FILTER, Shape, Step, address, int32, library
from inferloom_worker.kernels.matrix import TILE, padded, put_matrix
from inferloom_worker.models.config import DecoderConfig
from inferloom_worker.weights.groups import GROUP
from inferloom_worker.weights.sources import KernelSource, Matrix

_MATRICES = ("q", "k", "v", "output", "gate", "up", "down")
_VECTORS = ("input_norm", "mlp_norm", "qkv_bias", "output_bias", "q_norm", "k_norm")


def can_compute(config: DecoderConfig) -> bool:
    """Whether the kernels compute a decoder of this shape on this machine."""
    widths = (config.hidden, config.heads * config.head_dim, config.intermediate)
    return (
        library() is not None
        and all(width % GROUP == 0 for width in widths)
        and config.head_dim % TILE == 0
        and config.kv_heads * config.head_dim % TILE == 0
    )


class NativeModel:
    """A :class:`~inferloom_worker.models.protocol.CausalModel` in the kernel library.

    Weights stay as the source has them. Before a product with quantised ones, activations are rounded to
    15 bits per 32; everything else is float32, and the cache float16.

    Args:
        config: The decoder's shape, which :func:`can_compute` allows.
        source: The weights.
        dtype: What the weights are, for reports: int8 for quantised ones.
        threads: Threads of one step.
    """

    device = torch.device("cpu")

    def __init__(
        self, config: DecoderConfig, source: KernelSource, *, dtype: torch.dtype, threads: int
    ) -> None:
        loaded = library()
        assert loaded is not None
        self.config = config
        self.dtype = dtype
        self.vocab_size = config.vocab_size
        self.context_length = config.context_length
        self._padded = padded(config.vocab_size)
        self._library = loaded
        shape = Shape(
            layers=config.layers,
            hidden=config.hidden,
            heads=config.heads,
            kv_heads=config.kv_heads,
            head_dim=config.head_dim,
            intermediate=config.intermediate,
            vocab=self._padded,
            window=config.window or 0,
            norm_eps=config.norm_eps,
            rope_scale=config.rope_scale,
            attention_scale=1 / math.sqrt(config.head_dim),
        )
        frequencies = config.inverse_frequencies.numpy()
        self._decoder: Any = loaded.il_create(ctypes.byref(shape), address(frequencies), threads)
        self._fill(source)

    def __del__(self) -> None:
        if getattr(self, "_decoder", None):
            self._library.il_destroy(self._decoder)

    @property
    def chooser(self) -> Chooser:
        """See the protocol."""
        return self

    @property
    def weights_bytes(self) -> int:
        """See the protocol."""
        return int(self._library.il_weight_bytes(self._decoder))

    @property
    def kv_bytes_per_token(self) -> int:
        """See the protocol."""
        return 2 * 2 * self.config.layers * self.config.kv_heads * self.config.head_dim

    def allocate(self, blocks: int) -> None:
        """See the protocol."""
        if not self._library.il_allocate(self._decoder, blocks):
            raise MemoryError(f"no memory for {blocks} cache blocks")

    def forward(self, batch: StepBatch) -> Tensor:
        """See the protocol."""
        table: list[int] = []
        starts: list[int] = []
        for span in batch.spans:
            starts.append(len(table))
            table.extend(span.blocks)
        fields = {
            "tokens": int32(batch.tokens),
            "positions": int32(batch.positions),
            "span_start": int32([span.start for span in batch.spans]),
            "span_count": int32([span.count for span in batch.spans]),
            "span_blocks": int32(starts),
            "blocks": int32(table),
            "sample_rows": int32(batch.sample_rows),
        }
        rows, spans, samples = len(batch.tokens), len(batch.spans), len(batch.sample_rows)
        step = Step(rows, spans, samples, *(address(field) for field in fields.values()))
        logits = torch.empty(samples, self._padded)
        self._library.il_forward(self._decoder, ctypes.byref(step), logits.data_ptr())
        return logits[:, : self.vocab_size]

    def argmax(self, logits: Tensor) -> list[int]:
        """See :class:`~inferloom_worker.engine.sampler.Chooser`."""
        places = np.empty(len(logits), np.int32)
        self._library.il_argmax(self._decoder, *_rows_of(logits), address(places))
        found: list[int] = places.tolist()
        return found

    def draw(self, logits: Tensor, settings: list[Sampling], uniforms: NDArray[np.float64]) -> list[int]:
        """See :class:`~inferloom_worker.engine.sampler.Chooser`."""
        filters = np.empty(len(settings), FILTER)
        for name in ("temperature", "top_p", "min_p", "top_k"):
            filters[name] = [getattr(s, name) for s in settings]
        filters["u"] = uniforms
        tokens = np.empty(len(settings), np.int32)
        self._library.il_draw(self._decoder, *_rows_of(logits), address(filters), address(tokens))
        drawn: list[int] = tokens.tolist()
        return drawn

    def _fill(self, source: KernelSource) -> None:
        self._matrix(-1, 0, source.matrix("model.embed_tokens.weight"))
        if source.has("lm_head.weight"):
            self._matrix(-1, 1, source.matrix("lm_head.weight"))
        self._vector(-1, 0, source.vector("model.norm.weight"))
        for layer in range(self.config.layers):
            prefix = f"model.layers.{layer}"
            attention = f"{prefix}.self_attn"
            names = {
                **{part: f"{attention}.{part}_proj.weight" for part in "qkv"},
                "output": f"{attention}.o_proj.weight",
                **{part: f"{prefix}.mlp.{part}_proj.weight" for part in ("gate", "up", "down")},
            }
            for part, name in names.items():
                self._matrix(layer, _MATRICES.index(part), source.matrix(name))
            vectors = {
                "input_norm": source.vector(f"{prefix}.input_layernorm.weight"),
                "mlp_norm": source.vector(f"{prefix}.post_attention_layernorm.weight"),
                "output_bias": source.vector(f"{attention}.o_proj.bias"),
                "q_norm": source.vector(f"{attention}.q_norm.weight"),
                "k_norm": source.vector(f"{attention}.k_norm.weight"),
            }
            biases = [source.vector(f"{attention}.{p}_proj.bias") for p in "qkv"]
            if biases[0] is not None:
                vectors["qkv_bias"] = np.concatenate([b for b in biases if b is not None])
            for name, values in vectors.items():
                self._vector(layer, _VECTORS.index(name), values)

    def _matrix(self, layer: int, which: int, matrix: Matrix) -> None:
        put_matrix(self._library, self._library.il_decoder_matrix(self._decoder, layer, which), matrix)

    def _vector(self, layer: int, which: int, values: NDArray[np.float32] | None) -> None:
        if values is not None:
            self._library.il_set_vector(self._decoder, layer, which, address(values), len(values))


def _rows_of(logits: Tensor) -> tuple[int, int, int, int]:
    """Address, rows, stride and width of a matrix whose rows are contiguous."""
    assert logits.stride(1) == 1
    return logits.data_ptr(), logits.shape[0], logits.stride(0), logits.shape[1]
