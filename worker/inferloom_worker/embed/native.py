"""BERT-shaped encoders in the kernel library: weights in bfloat16, or in 12 bits with a scale per 32
where the processor multiplies 16-bit integers faster."""

import ctypes
from collections.abc import Iterable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from sentence_transformers.sentence_transformer.modules import Pooling, Transformer
from torch import Tensor
from transformers import BertModel

from inferloom_worker.kernels.library import EncoderShape, address, int32, library
from inferloom_worker.kernels.matrix import TILE, put_matrix
from inferloom_worker.weights.bfloat16 import round_bfloat16
from inferloom_worker.weights.groups import GROUP, Kind, quantize_int12

_POOLING = {"mean": 0, "cls": 1, "lasttoken": 2}


def can_compute(modules: list[torch.nn.Module]) -> bool:
    """Whether the kernels compute these sentence-transformers modules on this machine."""
    if library() is None or len(modules) != 2:
        return False
    first, second = modules
    if not isinstance(first, Transformer) or not isinstance(second, Pooling):
        return False
    model = first.auto_model
    config = model.config
    return (
        type(model) is BertModel
        and second.pooling_mode in _POOLING
        and second.include_prompt
        and config.hidden_act == "gelu"
        and not config.is_decoder
        and config.hidden_size % GROUP == 0
        and config.intermediate_size % GROUP == 0
        and config.hidden_size // config.num_attention_heads % TILE == 0
    )


class NativeEncoder:
    """The transformer and pooling modules of an encoder that :func:`can_compute` allows."""

    dtype = "bfloat16"
    """Reported precision; 12 bits with a scale are no coarser."""

    def __init__(self, modules: list[Any], threads: int) -> None:
        model, pooling = modules[0].auto_model, modules[1].pooling_mode
        config = model.config
        loaded = library()
        assert loaded is not None
        self._library = loaded
        self._rounding = quantize_int12 if loaded.il_holds(Kind.Q12) else round_bfloat16
        self._hidden = int(config.hidden_size)
        shape = EncoderShape(
            layers=config.num_hidden_layers,
            hidden=config.hidden_size,
            heads=config.num_attention_heads,
            intermediate=config.intermediate_size,
            vocab=config.vocab_size,
            positions=config.max_position_embeddings,
            pooling=_POOLING[pooling],
            norm_eps=config.layer_norm_eps,
        )
        self._encoder: Any = loaded.il_encoder_create(ctypes.byref(shape), threads)
        embeddings = model.embeddings
        places = embeddings.position_embeddings.weight + embeddings.token_type_embeddings.weight[0]
        norm = embeddings.LayerNorm
        self._vectors(-1, (embeddings.word_embeddings.weight, places, norm.weight, norm.bias))
        for index, layer in enumerate(model.encoder.layer):
            attention, output = layer.attention.self, layer.attention.output
            qkv = (attention.query, attention.key, attention.value)
            up, down = layer.intermediate.dense, layer.output.dense
            for which, linear in enumerate((*qkv, output.dense, up, down)):
                self._matrix(index, which, linear.weight)
            first, second = output.LayerNorm, layer.output.LayerNorm
            self._vectors(
                index,
                (
                    torch.cat([linear.bias for linear in qkv]),
                    output.dense.bias,
                    *(first.weight, first.bias, up.bias, down.bias, second.weight, second.bias),
                ),
            )

    def __del__(self) -> None:
        if getattr(self, "_encoder", None):
            self._library.il_encoder_destroy(self._encoder)

    def encode(self, texts: list[list[int]]) -> NDArray[np.float32]:
        """One row [hidden] per text; each has at least one token and fits the model. One thread at a time."""
        tokens = int32([token for text in texts for token in text])
        counts = int32([len(text) for text in texts])
        rows = np.empty((len(texts), self._hidden), np.float32)
        self._library.il_encoder_forward(
            self._encoder, len(texts), address(tokens), address(counts), address(rows)
        )
        return rows

    def _vectors(self, layer: int, tensors: Iterable[Tensor]) -> None:
        for which, tensor in enumerate(tensors):
            values = np.ascontiguousarray(tensor.detach().float().numpy())
            self._library.il_encoder_vector(self._encoder, layer, which, address(values), values.size)

    def _matrix(self, layer: int, which: int, weight: Tensor) -> None:
        matrix = self._rounding(weight.detach().float().contiguous().numpy())
        put_matrix(self._library, self._library.il_encoder_matrix(self._encoder, layer, which), matrix)
