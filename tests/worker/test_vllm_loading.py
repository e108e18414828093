"""What the worker says to vLLM, and of it, before and after it starts. Without vLLM."""

import json
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from inferloom_worker.engine.options import EngineOptions
from inferloom_worker.engine.protocol import Continuity
from inferloom_worker.engines.vllm.loading import NOT_CARRIED, PROCESSOR, carries, info, settings, start
from inferloom_worker.engines.vllm.options import read_query
from inferloom_worker.hosting.load_options import LoadOptions
from inferloom_worker.hosting.model_loading import load_model
from inferloom_worker.sourcing.sources import ModelSource, SourceError, SourceKind

FOLDER = ModelSource("/m/x", SourceKind.FOLDER, Path("/m/x"), engine="vllm")


@pytest.mark.parametrize(
    ("query", "carried"),
    [
        ("", True),
        ("tensor_parallel_size=2", True),
        ("carry=off", False),
        ("pipeline_parallel_size=2", False),
        ("pipeline_parallel_size=2&carry=on", True),
        ("spec_method=ngram&spec_tokens=3", False),
    ],
)
def test_requests_are_carried_where_vllm_lets_us(query: str, carried: bool) -> None:
    """It takes no processors together with drafts, or, as it is by default, with pipelines."""
    assert carries(read_query(query)) is carried


def test_the_workers_settings_are_vllms_where_a_spec_is_silent() -> None:
    """Sequences, context and cache; and what our own part needs."""
    options = EngineOptions(max_running=7, context_length=99, kv_cache_bytes=1000)
    said = settings(FOLDER, options, carry=True, pooling=False)
    assert (said["max_num_seqs"], said["max_model_len"], said["kv_cache_memory_bytes"]) == (7, 99, 1000)
    assert (said["model"], said["served_model_name"], said["runner"]) == ("/m/x", "x", "generate")
    assert said["logits_processors"] == [PROCESSOR]
    vectors = settings(FOLDER, EngineOptions(), carry=False, pooling=True)
    assert vectors["runner"] == "pooling"
    assert "logits_processors" not in vectors
    assert "max_logprobs" not in vectors


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("carry", [False, True])
def test_a_card_says_what_goes_on(dtype: str, carry: bool) -> None:
    """Exactly only in float32 and where draws are carried; with what nothing carries, not at all."""
    started = SimpleNamespace(
        vocab_size=9,
        context_length=8,
        dtype=dtype,
        slots=4,
        kv_tokens=64,
        device="cpu",
        dimensions=None,
        pooling=False,
    )
    said = info(started, carry=carry)
    assert said.continuity is (Continuity.EXACT if carry and dtype == "float32" else Continuity.TOKENS)
    assert said.without == (frozenset() if carry else NOT_CARRIED)
    assert ("bad_words" in said.lacks) is not carry
    assert "prediction" in said.lacks
    assert said.constrains


def test_what_vllm_does_not_take_is_refused_before_it_starts() -> None:
    """With a sentence that says what to do instead."""
    gguf = ModelSource("x.gguf", SourceKind.GGUF, Path("x.gguf"), engine="vllm")
    with pytest.raises(SourceError, match="folders of safetensors"):
        start(gguf, EngineOptions())
    with pytest.raises(SourceError, match="--quantize is for other engines"):
        start(FOLDER, EngineOptions(quantize="int8"))


def test_a_worker_without_vllm_says_what_brings_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And so does one whose model needs another engine."""
    monkeypatch.setitem(sys.modules, "vllm", None)
    config = {"architectures": ["BertModel"], "model_type": "bert", "vocab_size": 9}
    (tmp_path / "config.json").write_text(json.dumps(config))
    (tmp_path / "model.safetensors").write_bytes((2).to_bytes(8, "little") + b"{}")
    (tmp_path / "modules.json").write_text("[]")
    tokenizer = {"version": "1.0", "model": {"type": "WordLevel", "vocab": {"a": 0}, "unk_token": "a"}}
    (tmp_path / "tokenizer.json").write_text(json.dumps({**tokenizer, "added_tokens": []}))
    with pytest.raises(SourceError, match=r"vllm is not installed: pip install '\.\[vllm\]'"):
        load_model("x", f"vllm:{tmp_path}", LoadOptions())
