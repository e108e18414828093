"""Llama-shaped decoders computed by the kernel library."""

import ctypes
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from inferloom_worker.engine.sampling import Sampling
from inferloom_worker.kernels.abi import (
    ACTIVATIONS,
    FILTER,
    MATRICES,
    TILE,
    VECTORS,
    LayerShape,
    Rope,
    Shape,
    Step,
)
from inferloom_worker.kernels.library import address, int32, library
from inferloom_worker.kernels.matrix import padded, put_matrix
from inferloom_worker.lora.placement import decoder_targets, place
from inferloom_worker.lora.weights import LoraWeights
from inferloom_worker.models.config import DecoderConfig
from inferloom_worker.models.decoder_tensors import check_tensors
from inferloom_worker.models.native_adapter import NativeAdapter
from inferloom_worker.models.native_weights import layer_matrices, layer_vectors, norm
from inferloom_worker.stepping.adjusting import Masks
from inferloom_worker.stepping.batch import StepBatch
from inferloom_worker.stepping.sampler import Chooser
from inferloom_worker.weights.groups import GROUP
from inferloom_worker.weights.matrix import Matrix
from inferloom_worker.weights.sources import KernelSource


def can_compute(config: DecoderConfig) -> bool:
    """Whether the kernels compute a decoder of this shape on this machine."""
    widths = (config.hidden, config.heads * config.head_dim, config.intermediate)
    return (
        library() is not None
        and all(width % GROUP == 0 for width in widths)
        and config.head_dim % TILE == 0
        and config.heads % config.kv_heads == 0
    )


class NativeModel:
    """A :class:`~inferloom_worker.models.protocol.CausalModel` in the kernel library.

    Weights stay as the source has them. Before a product with quantised ones, activations are rounded to
    16 bits per 32; everything else is float32, and the cache float16.

    Args:
        config: The decoder's shape, which :func:`can_compute` allows.
        source: The weights.
        dtype: What the weights are, for reports: int8 for quantised ones.
        threads: Threads of one step.

    Raises:
        TensorError: The weights are not those of the config.
    """

    device = torch.device("cpu")

    def __init__(
        self, config: DecoderConfig, source: KernelSource, *, dtype: torch.dtype, threads: int
    ) -> None:
        loaded = library()
        assert loaded is not None
        check_tensors(config, source.checkpoint)
        self.config = config
        self.dtype = dtype
        self.vocab_size = config.vocab_size
        self.context_length = config.context_length
        self.hidden_size = config.hidden
        self._padded = padded(config.vocab_size)
        self._library = loaded
        shape = Shape(
            layers=len(config.layers),
            hidden=config.hidden,
            heads=config.heads,
            kv_heads=config.kv_heads,
            head_dim=config.head_dim,
            intermediate=config.intermediate,
            vocab=self._padded,
            activation=ACTIVATIONS.index(config.activation),
            norm_eps=config.norm_eps,
            embedding_scale=config.embedding_scale,
            attention_scale=config.attention_scale,
            attention_softcap=config.attention_softcap or 0,
            final_softcap=config.final_softcap or 0,
        )
        layers = (LayerShape * len(config.layers))(
            *(LayerShape(layer.window or 0, layer.rope) for layer in config.layers)
        )
        ropes = (Rope * len(config.ropes))(
            *(Rope(address(r.frequencies.numpy()), len(r.frequencies), r.scale) for r in config.ropes)
        )
        self._decoder: Any = loaded.il_create(ctypes.byref(shape), layers, ropes, len(ropes), threads)
        self._fill(source)

    def __del__(self) -> None:
        if getattr(self, "_decoder", None):
            self._library.il_destroy(self._decoder)

    @property
    def chooser(self) -> Chooser:
        return self

    @property
    def weights_bytes(self) -> int:
        return int(self._library.il_weight_bytes(self._decoder))

    @property
    def kv_bytes_per_token(self) -> int:
        return 2 * 2 * len(self.config.layers) * self.config.kv_heads * self.config.head_dim

    def allocate(self, blocks: int) -> None:
        self._library.il_allocate(self._decoder, blocks)

    def adapter(self, weights: LoraWeights) -> NativeAdapter:
        return NativeAdapter(self._library, self._decoder, place(weights, decoder_targets(self.config)))

    def forward(self, batch: StepBatch) -> Tensor:
        return self._run(batch, self._library.il_forward, self._padded)[:, : self.vocab_size]

    def hidden(self, batch: StepBatch) -> Tensor:
        return self._run(batch, self._library.il_hidden, self.hidden_size)

    def _run(self, batch: StepBatch, compute: Any, width: int) -> Tensor:
        """Compute a step with one of the library's functions, which writes ``width`` numbers for each of the
        rows that are wanted."""
        table: list[int] = []
        starts: list[int] = []
        for span in batch.spans:
            starts.append(len(table))
            table.extend(span.blocks)
        fields: dict[str, NDArray[Any]] = {
            "tokens": int32(batch.tokens),
            "positions": int32(batch.positions),
            "span_start": int32([span.start for span in batch.spans]),
            "span_count": int32([span.count for span in batch.spans]),
            "span_blocks": int32(starts),
            "blocks": int32(table),
            "sample_rows": int32(batch.sample_rows),
            "span_adapters": _handles(batch),
        }
        rows, spans, samples = len(batch.tokens), len(batch.spans), len(batch.sample_rows)
        step = Step(rows, spans, samples, len(table), *(address(field) for field in fields.values()))
        output = torch.empty(samples, width)
        compute(self._decoder, ctypes.byref(step), output.data_ptr())
        return output

    def argmax(self, logits: Tensor, masks: Masks | None = None) -> list[int]:
        places = np.empty(len(logits), np.int32)
        allowed = mask_addresses(masks)
        self._library.il_argmax(self._decoder, *_rows_of(logits), address(allowed), address(places))
        found: list[int] = places.tolist()
        return found

    def draw(
        self,
        logits: Tensor,
        settings: list[Sampling],
        uniforms: NDArray[np.float64],
        masks: Masks | None = None,
    ) -> list[int]:
        filters = np.empty(len(settings), FILTER)
        for name in ("temperature", "top_p", "min_p"):
            filters[name] = [getattr(s, name) for s in settings]
        # More than there are is all of them, and may be more than the field holds.
        filters["top_k"] = [min(s.top_k, logits.shape[-1]) for s in settings]
        filters["u"] = uniforms
        tokens = np.empty(len(settings), np.int32)
        allowed = mask_addresses(masks)
        self._library.il_draw(
            self._decoder, *_rows_of(logits), address(allowed), address(filters), address(tokens)
        )
        drawn: list[int] = tokens.tolist()
        return drawn

    def _fill(self, source: KernelSource) -> None:
        self._matrix(-1, 0, source.matrix("model.embed_tokens.weight"))
        if not self.config.tied:
            self._matrix(-1, 1, source.matrix("lm_head.weight"))
        self._vector(-1, 0, norm(source, "model.norm", self.config))
        for layer in range(len(self.config.layers)):
            prefix = f"model.layers.{layer}"
            for name, matrix in layer_matrices(source, self.config, prefix).items():
                self._matrix(layer, MATRICES.index(name), matrix)
            for name, values in layer_vectors(source, self.config, prefix).items():
                self._vector(layer, VECTORS.index(name), values)

    def _matrix(self, layer: int, which: int, matrix: Matrix) -> None:
        put_matrix(self._library, self._library.il_decoder_matrix(self._decoder, layer, which), matrix)

    def _vector(self, layer: int, which: int, values: NDArray[np.float32] | None) -> None:
        if values is not None:
            self._library.il_set_vector(self._decoder, layer, which, address(values), len(values))


def _handles(batch: StepBatch) -> NDArray[np.uintp]:
    """Each span's adapter in the library; 0 where there is none."""
    handles = np.zeros(len(batch.spans), np.uintp)
    for index, span in enumerate(batch.spans):
        if span.adapter is not None:
            assert isinstance(span.adapter, NativeAdapter)
            handles[index] = span.adapter.handle
    return handles


def mask_addresses(masks: Masks | None) -> NDArray[np.uintp] | None:
    """Where each row's mask is; 0 where everything is allowed. None: it is in every row."""
    if masks is None or not any(mask is not None for mask in masks):
        return None
    return np.array([address(mask) or 0 for mask in masks], np.uintp)


def _rows_of(logits: Tensor) -> tuple[int, int, int, int]:
    """Address, rows, stride and width of a matrix whose rows are contiguous."""
    assert logits.stride(1) == 1
    return logits.data_ptr(), logits.shape[0], logits.stride(0), logits.shape[1]
