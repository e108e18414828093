"""BERT-shaped encoders in the kernel library: weights in bfloat16, or in 12 bits with a scale per 32
where the processor multiplies 16-bit integers faster."""

import ctypes
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from inferloom_worker.embed.bert import BertShape, Weights
from inferloom_worker.kernels.abi import ENCODER_MATRICES, ENCODER_VECTORS, POOLINGS, TILE, EncoderShape
from inferloom_worker.kernels.library import address, int32, library
from inferloom_worker.kernels.matrix import put_matrix
from inferloom_worker.weights.bfloat16 import round_bfloat16
from inferloom_worker.weights.groups import GROUP, Kind, quantize_int12


def can_compute(shape: BertShape) -> bool:
    """Whether the kernels compute encoders of this shape on this machine."""
    return (
        library() is not None
        and shape.hidden % GROUP == 0
        and shape.intermediate % GROUP == 0
        and shape.hidden % (shape.heads * TILE) == 0
    )


class NativeEncoder:
    """A BERT encoder with pooling, of a shape that :func:`can_compute` allows.

    Args:
        shape: Its sizes.
        pooling: How a text's hidden states become its vector; one of
            :data:`~inferloom_worker.kernels.abi.POOLINGS`.
        weights: Its tensors; they are copied.
        threads: Threads of one pass.

    Raises:
        UnknownFormError: ``weights`` lacks a tensor, or has one of another shape.
    """

    dtype = "bfloat16"
    """Reported precision; 12 bits with a scale are no coarser."""

    def __init__(self, shape: BertShape, pooling: str, weights: Weights, threads: int) -> None:
        loaded = library()
        assert loaded is not None
        self._library = loaded
        self._rounding = quantize_int12 if loaded.il_holds(Kind.Q12) else round_bfloat16
        self._shape = shape
        self._weights = weights
        self.weights_bytes = 0
        """What the kernels keep: matrices as they are rounded; embeddings, biases and norms in float32."""
        native = EncoderShape(
            layers=shape.layers,
            hidden=shape.hidden,
            heads=shape.heads,
            intermediate=shape.intermediate,
            vocab=shape.vocab,
            positions=shape.positions,
            segments=shape.token_types,
            pooling=POOLINGS.index(pooling),
            norm_eps=shape.norm_eps,
        )
        self._encoder: Any = loaded.il_encoder_create(ctypes.byref(native), threads)
        self._embeddings()
        for layer in range(shape.layers):
            self._layer(layer)
        del self._weights

    def __del__(self) -> None:
        if getattr(self, "_encoder", None):
            self._library.il_encoder_destroy(self._encoder)

    def encode(
        self, texts: Sequence[Sequence[int]], segments: Sequence[Sequence[int]] | None = None
    ) -> NDArray[np.float32]:
        """One row [hidden] per text; each has at least one token and fits the model. One thread at a time.

        Args:
            texts: Token ids.
            segments: The kind of each token, below the shape's ``token_types``. None: all are of kind 0.

        """
        tokens = int32([token for text in texts for token in text])
        kinds = None if segments is None else int32([kind for text in segments for kind in text])
        counts = int32([len(text) for text in texts])
        rows = np.empty((len(texts), self._shape.hidden), np.float32)
        self._library.il_encoder_forward(
            self._encoder,
            len(texts),
            address(tokens),
            address(kinds),
            address(counts),
            address(rows),
        )
        return rows

    def _embeddings(self) -> None:
        s, find = self._shape, self._weights.find
        words = find("embeddings.word_embeddings.weight", (s.vocab, s.hidden))
        places = find("embeddings.position_embeddings.weight", (s.positions, s.hidden))
        types = find("embeddings.token_type_embeddings.weight", (s.token_types, s.hidden))
        self._vectors(-1, words, places, types, *self._norm("embeddings"))

    def _layer(self, layer: int) -> None:
        """In the orders of :data:`ENCODER_MATRICES` and :data:`ENCODER_VECTORS`."""
        prefix = f"encoder.layer.{layer}"
        wide, hidden = self._shape.intermediate, self._shape.hidden
        attended, output = f"{prefix}.attention.output", f"{prefix}.output"
        qkv = [f"{prefix}.attention.self.{part}" for part in ("query", "key", "value")]
        up, down = f"{prefix}.intermediate.dense", f"{output}.dense"
        sizes = {
            **dict.fromkeys((*qkv, f"{attended}.dense"), (hidden, hidden)),
            up: (wide, hidden),
            down: (hidden, wide),
        }
        for which, (name, size) in zip(range(len(ENCODER_MATRICES)), sizes.items(), strict=True):
            matrix = self._rounding(self._weights.find(f"{name}.weight", size))
            place = self._library.il_encoder_matrix(self._encoder, layer, which)
            put_matrix(self._library, place, matrix)
            self.weights_bytes += matrix.nbytes
        biases = {name: self._weights.find(f"{name}.bias", size[:1]) for name, size in sizes.items()}
        vectors = (
            np.concatenate([biases[name] for name in qkv]),
            biases[f"{attended}.dense"],
            *self._norm(attended),
            biases[up],
            biases[down],
            *self._norm(output),
        )
        assert len(vectors) == len(ENCODER_VECTORS)
        self._vectors(layer, *vectors)

    def _norm(self, prefix: str) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Weight and bias of the norm after a block."""
        size = (self._shape.hidden,)
        weight = self._weights.find(f"{prefix}.LayerNorm.weight", size)
        return weight, self._weights.find(f"{prefix}.LayerNorm.bias", size)

    def _vectors(self, layer: int, *vectors: NDArray[np.float32]) -> None:
        for which, values in enumerate(vectors):
            values = np.ascontiguousarray(values)
            self._library.il_encoder_vector(self._encoder, layer, which, address(values), values.size)
            self.weights_bytes += values.nbytes
