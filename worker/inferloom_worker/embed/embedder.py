"""Vectors of texts of all callers from one encoder."""

from collections.abc import Sequence
from typing import Protocol

from inferloom_mesh.errors import InferloomError, Reason
from inferloom_worker.embed.batcher import Batcher
from inferloom_worker.embed.options import NOBODY, Caller, EmbedderInfo, EmbedOptions
from inferloom_worker.embed.reader import Reader
from inferloom_worker.embed.vector_stream import Vectors, VectorStream


class EncoderModel(Protocol):
    """What computes vectors; see :func:`~inferloom_worker.embed.encoder_loading.load_encoder`."""

    info: EmbedderInfo
    reader: Reader

    def encode(self, texts: list[list[int]]) -> Vectors:
        """One row per text."""
        ...


class Embedder(Batcher[list[int]]):
    """A :class:`~inferloom_worker.embed.protocol.TextEmbedder` around an encoder."""

    def __init__(self, model: EncoderModel, options: EmbedOptions) -> None:
        super().__init__(model, options, _failed)
        self.info = model.info
        self.reader = model.reader

    def embed(self, texts: Sequence[list[int]], caller: Caller = NOBODY) -> VectorStream:
        return self.submit(texts)


def _failed(index: int) -> InferloomError:
    where = f"inputs[{index}]"
    return InferloomError(Reason.SERVER_ERROR, f"{where} could not be embedded.", param=where)
