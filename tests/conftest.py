"""Fixtures that every part's tests share: the demo models, fetched once into the user's cache."""

from pathlib import Path

import pytest

from inferloom_worker.sourcing import demo


@pytest.fixture(scope="session")
def smollm_file() -> Path:
    """The demo chat model: a GGUF file."""
    return demo.fetch("smollm2-135m-instruct")


@pytest.fixture(scope="session")
def minilm_folder() -> Path:
    """The demo embedding model: a folder."""
    return demo.fetch("all-minilm-l6-v2")
