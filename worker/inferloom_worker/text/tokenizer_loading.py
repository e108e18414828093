"""The tokenizer that belongs to a model source."""

from inferloom_worker.sourcing.sources import ModelSource, SourceKind
from inferloom_worker.text.bytes_tokenizer import bytes_tokenizer
from inferloom_worker.text.folder_tokenizer import load_folder_tokenizer
from inferloom_worker.text.gguf_tokenizer import load_gguf_tokenizer
from inferloom_worker.text.tokenizer import Tokenizer
from inferloom_worker.weights.gguf import read_gguf


def load_tokenizer(source: ModelSource) -> Tokenizer:
    """Load the tokenizer of ``source``. Blocking.

    Raises:
        ValueError, OSError: There is none, or it cannot be read.
    """
    if source.path is None:
        return bytes_tokenizer()
    if source.kind is SourceKind.GGUF:
        return load_gguf_tokenizer(read_gguf(source.path))
    return load_folder_tokenizer(source.path)
