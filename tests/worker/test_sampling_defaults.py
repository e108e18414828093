"""Sampling values in a model's files."""

from pathlib import Path

import pytest

from inferloom_worker.hosting.sampling_defaults import sampling_defaults
from inferloom_worker.sourcing.sources import ModelSource, SourceKind
from tests.worker.gguf_files import write_gguf
from tests.worker.models import make_model, reference


def test_a_gguf_files_values_are_read_under_llama_cpps_keys(tmp_path: Path) -> None:
    """Those that a request can have, too."""
    keys = {"temp": 0.5, "top_k": 40, "top_p": 0.8, "min_p": 0.1, "penalty_repeat": 1.2, "mirostat": 0}
    file = write_gguf(reference(make_model(tmp_path, "llama")), tmp_path / "tiny.gguf", sampling=keys)
    source = ModelSource(str(file), SourceKind.GGUF, file)
    assert {field.name: value for field, value in sampling_defaults(source).ListFields()} == {
        "temperature": 0.5,
        "top_k": 40,
        "top_p": pytest.approx(0.8),
        "min_p": pytest.approx(0.1),
        "repetition_penalty": pytest.approx(1.2),
    }
    assert not sampling_defaults(source, "openai").ListFields()


def test_the_demo_chat_model_says_nothing(smollm_file: Path) -> None:
    """It is drawn with OpenAI's defaults."""
    source = ModelSource(str(smollm_file), SourceKind.GGUF, smollm_file)
    assert not sampling_defaults(source).ListFields()
