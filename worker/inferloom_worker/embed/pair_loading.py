"""The cross-encoder of a folder: the kernels' where they compute it, otherwise sentence-transformers' own."""

import logging
from pathlib import Path

from inferloom_worker.embed.encoder_loading import for_kernels
from inferloom_worker.embed.files import UnknownFormError
from inferloom_worker.embed.native_pairs import NativePairModel
from inferloom_worker.embed.options import EmbedOptions
from inferloom_worker.embed.pair_ranker import PairModel
from inferloom_worker.sourcing.imports import large_imports
from inferloom_worker.weights.quantized import refuse_quantized

log = logging.getLogger(__name__)


def load_pair_model(path: Path, options: EmbedOptions) -> PairModel:
    """Load what is in a folder. Blocking, for a second in the kernels and for several elsewhere.

    Raises:
        ValueError, OSError: It is no cross-encoder, or it is damaged.
    """
    if for_kernels(options):
        try:
            return NativePairModel(path, options)
        except UnknownFormError as reason:
            log.info("%s is not computed in the kernels: %s", path.name, reason)
    refuse_quantized(path)
    with large_imports():
        # Imported here: it takes seconds.
        from inferloom_worker.embed.cross_encoder import CrossEncoderModel
    return CrossEncoderModel(path, options)
