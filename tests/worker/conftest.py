"""Fixtures of the worker's tests."""

from importlib.util import find_spec
from pathlib import Path

import pytest

from inferloom_worker.text.bytes_tokenizer import bytes_tokenizer
from inferloom_worker.text.folder_tokenizer import load_folder_tokenizer
from inferloom_worker.text.gguf_tokenizer import load_gguf_tokenizer
from inferloom_worker.text.tokenizer import Tokenizer
from inferloom_worker.weights.gguf import read_gguf

collect_ignore = [] if find_spec("triton") else ["test_fused.py"]  # Triton is made for Linux


@pytest.fixture(scope="session")
def byte_tokenizer() -> Tokenizer:
    """One token per byte."""
    return bytes_tokenizer()


@pytest.fixture(scope="session")
def smollm_tokenizer(smollm_file: Path) -> Tokenizer:
    """The demo chat model's tokenizer."""
    return load_gguf_tokenizer(read_gguf(smollm_file))


@pytest.fixture(scope="session")
def minilm_tokenizer(minilm_folder: Path) -> Tokenizer:
    """The demo embedding model's tokenizer: word pieces, not bytes."""
    return load_folder_tokenizer(minilm_folder)
