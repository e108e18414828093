"""The encoder of a folder: the kernels' where they compute it, otherwise sentence-transformers' own."""

import logging
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from inferloom_mesh.machine import cores
from inferloom_worker.embed.bert import BertWeights
from inferloom_worker.embed.embedder import EncoderModel
from inferloom_worker.embed.files import UnknownFormError
from inferloom_worker.embed.folder import read_folder
from inferloom_worker.embed.native import NativeEncoder, can_compute
from inferloom_worker.embed.options import EmbedderInfo, EmbedOptions
from inferloom_worker.embed.reader import Reader
from inferloom_worker.kernels.library import instruction_set, library
from inferloom_worker.sourcing.imports import large_imports
from inferloom_worker.weights.quantized import refuse_quantized

_GPUS = ("nvidia*", "dxg", "kfd")
"""What Linux has under /dev where torch may find a GPU: NVIDIA's driver, Windows', AMD's."""

log = logging.getLogger(__name__)


def load_encoder(path: Path, options: EmbedOptions) -> EncoderModel:
    """Load what is in a folder. Blocking, for a second in the kernels and for several elsewhere.

    Raises:
        ValueError, OSError: It is no encoder, or it is damaged.
    """
    if for_kernels(options):
        try:
            return KernelModel(path, options)
        except UnknownFormError as reason:
            log.info("%s is not computed in the kernels: %s", path.name, reason)
    refuse_quantized(path)
    with large_imports():
        # Imported here: it takes seconds, and what the kernels compute needs none of it.
        from inferloom_worker.embed.model import SentenceModel
    return SentenceModel(path, options)


class KernelModel:
    """An :class:`~inferloom_worker.embed.embedder.EncoderModel` in the kernels.

    Raises:
        UnknownFormError: The kernels do not compute what is in the folder, or may compute something else.
    """

    def __init__(self, path: Path, options: EmbedOptions) -> None:
        folder = read_folder(path)
        if not can_compute(folder.shape):
            raise UnknownFormError("they compute other sizes")
        threads = options.threads or cores()
        weights = BertWeights(path / "model.safetensors")
        self._encoder = NativeEncoder(folder.shape, folder.modules.pooling, weights, threads)
        self.reader = Reader(folder.tokenizer, folder.max_tokens, folder.prompt)
        self.info = EmbedderInfo(
            dimensions=folder.dimensions,
            max_tokens=folder.max_tokens,
            vocab_size=folder.shape.vocab,
            normalizes=folder.modules.normalizes,
            shortens=folder.shortens,
            dtype=self._encoder.dtype,
            engine="kernels",
            instruction_set=instruction_set(),
            weights_bytes=self._encoder.weights_bytes,
            batch_size=options.batch_size,
        )

    def encode(self, texts: list[list[int]]) -> NDArray[np.float32]:
        return self._encoder.encode(texts)


def for_kernels(options: EmbedOptions) -> bool:
    """Whether the kernels are there, and may compute what is asked for."""
    return library() is not None and options.dtype == "auto" and is_cpu(options.device)


def is_cpu(device: str) -> bool:
    """Whether a device is the CPU, as torch would choose.

    Where ``auto`` leaves it to torch, torch is asked only if there may be a GPU: importing it takes a second
    and 150 MB. Without its driver's files, a GPU cannot be opened, whatever torch was built for.
    """
    if device != "auto" or not any(any(Path("/dev").glob(name)) for name in _GPUS):
        return device in ("auto", "cpu")
    with large_imports():
        import torch
    return not torch.cuda.is_available()
