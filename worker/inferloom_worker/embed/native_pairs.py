"""A BERT cross-encoder in the kernels."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from inferloom_mesh.machine import cores
from inferloom_worker.embed.bert import BertWeights, Weights
from inferloom_worker.embed.files import UnknownFormError
from inferloom_worker.embed.native import NativeEncoder, can_compute
from inferloom_worker.embed.options import EmbedOptions, RankerInfo
from inferloom_worker.embed.pair_folder import read_pair_folder
from inferloom_worker.embed.pair_ranker import Reader
from inferloom_worker.embed.pairs import Pair, PairReader
from inferloom_worker.kernels.library import instruction_set

Numbers = NDArray[np.float32]


def _sigmoid(outputs: Numbers) -> Numbers:
    """Exact to the last bits near 0 too, where documents that do not matter are told apart."""
    z = np.exp(-np.abs(outputs))
    scores: Numbers = np.where(outputs >= 0, 1 / (1 + z), z / (1 + z))
    return scores


_ACTIVATIONS: dict[str, Callable[[Numbers], Numbers]] = {
    "Identity": lambda outputs: outputs,
    "Sigmoid": _sigmoid,
    "Tanh": np.tanh,
}
"""Classes of ``torch.nn`` by name."""


class NativePairModel:
    """A :class:`~inferloom_worker.embed.pair_ranker.PairModel` in the kernels: BERT with one label.

    Only :meth:`encode` touches the model, so one thread at a time may call it.

    Raises:
        UnknownFormError: The kernels do not compute what is in the folder, or may compute something else.
    """

    def __init__(self, path: Path, options: EmbedOptions) -> None:
        folder = read_pair_folder(path)
        if folder.activation not in _ACTIVATIONS:
            raise UnknownFormError(f"its activation is {folder.activation}")
        if not can_compute(folder.shape):
            raise UnknownFormError("they compute other sizes")
        weights = BertWeights(path / "model.safetensors")
        self._head = _Head(folder.shape.hidden, weights)
        self._encoder = NativeEncoder(folder.shape, "cls", weights, options.threads or cores())
        self._activation = _ACTIVATIONS[folder.activation]
        self.reader: Reader = PairReader(folder.tokenizer, folder.max_tokens, folder.prompt)
        self.info = RankerInfo(
            max_tokens=folder.max_tokens,
            vocab_size=folder.shape.vocab,
            dtype=self._encoder.dtype,
            weights_bytes=self._encoder.weights_bytes + self._head.bytes,
            batch_size=options.batch_size,
            engine="kernels",
            instruction_set=instruction_set(),
        )

    def encode(self, texts: list[Pair]) -> Numbers:
        """Rows of two numbers; each pair has at least one token and fits the model."""
        firsts = self._encoder.encode([pair.ids for pair in texts], [pair.segments for pair in texts])
        outputs = self._head.outputs(firsts)
        return np.stack([outputs, self._activation(outputs)], axis=1)


class _Head:
    """BERT's pooler and a classifier of one label, in float32."""

    def __init__(self, hidden: int, weights: Weights) -> None:
        self._pooler = weights.find("pooler.dense.weight", (hidden, hidden))
        self._pooler_bias = weights.find("pooler.dense.bias", (hidden,))
        self._classifier = weights.find("classifier.weight", (1, hidden))
        self._bias = weights.find("classifier.bias", (1,))
        parts = (self._pooler, self._pooler_bias, self._classifier, self._bias)
        self.bytes = sum(part.nbytes for part in parts)

    def outputs(self, firsts: Numbers) -> Numbers:
        """One number for each row [hidden], the state of a pair's first token."""
        # Row by row: a product of many rows rounds each by its place among them.
        return np.array([self._output(first) for first in firsts], np.float32)

    def _output(self, first: Numbers) -> np.float32:
        pooled = np.tanh(self._pooler @ first + self._pooler_bias)
        number: np.float32 = self._classifier[0] @ pooled + self._bias[0]
        return number
