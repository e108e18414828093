"""The cross-encoder of a folder."""

from pathlib import Path

from inferloom_worker.embed.options import EmbedOptions
from inferloom_worker.embed.pair_ranker import PairModel
from inferloom_worker.sourcing.imports import large_imports
from inferloom_worker.weights.quantized import refuse_quantized


def load_pair_model(path: Path, options: EmbedOptions) -> PairModel:
    """Load what is in a folder. Blocking, for several seconds.

    Raises:
        ValueError, OSError: It is no cross-encoder, or it is damaged.
    """
    refuse_quantized(path)
    with large_imports():
        # Imported here: it takes seconds.
        from inferloom_worker.embed.cross_encoder import CrossEncoderModel
    return CrossEncoderModel(path, options)
