"""What a model's own attention hides, the paged attention hides too, or the model is refused in words."""

import random
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoConfig, AutoModelForCausalLM

from inferloom_worker.engine.options import EngineOptions
from inferloom_worker.engines.torch.engine import TorchEngine
from inferloom_worker.engines.torch.torch_loading import kv_blocks, load_model
from inferloom_worker.models.protocol import UnsupportedModelError
from tests.worker.engines import generate_all, request
from tests.worker.models import greedy, reference

CPU = torch.device("cpu")
SIZES: dict[str, Any] = {
    "vocab_size": 384,
    "hidden_size": 48,
    "intermediate_size": 96,
    "num_hidden_layers": 2,
    "num_attention_heads": 6,
    "num_key_value_heads": 2,
    "head_dim": 8,
    "max_position_embeddings": 256,
    "bos_token_id": None,
    "eos_token_id": None,
    "pad_token_id": 0,
}
_MOE = {"num_local_experts": 4, "num_experts_per_tok": 2}


def make(folder: Path, model_type: str, **fields: object) -> Path:
    """A random model of a type."""
    torch.manual_seed(7)
    config = AutoConfig.for_model(model_type, **SIZES | fields)
    model = AutoModelForCausalLM.from_config(config)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim > 1:
                parameter.normal_(0.0, 0.12)
            else:
                parameter.add_(0.1 * torch.randn_like(parameter))
    model.save_pretrained(folder)
    return folder


def prompts() -> list[list[int]]:
    """Random prompts, longer than any window here."""
    rng = random.Random(3)
    return [[rng.randrange(1, 384) for _ in range(length)] for length in (14, 30, 57)]


async def answers(folder: Path, context_length: int | None = None) -> list[list[int]]:
    """What the general path generates for :func:`prompts`, all at once."""
    model = load_model(folder, torch.float32, CPU, general=True, context_length=context_length)
    options = EngineOptions(dtype="float32", max_step_tokens=16)
    engine = TorchEngine(model, options, 4 * kv_blocks(model, options))
    try:
        return await generate_all(engine, [request(prompt, 12) for prompt in prompts()])
    finally:
        engine.close()


EQUAL: dict[str, tuple[str, dict[str, Any]]] = {
    "a window in the mask alone": ("phimoe", {**_MOE, "sliding_window": 8}),
    "no window": ("phimoe", {**_MOE, "sliding_window": None}),
    "windows of some layers": ("cohere2", {"sliding_window": 8, "sliding_window_pattern": 2}),
    "an encoder that is a decoder": ("bert", {"is_decoder": True}),
    "keys wider than values": (
        "deepseek_v3",
        {
            "kv_lora_rank": 16,
            "q_lora_rank": 24,
            "qk_rope_head_dim": 8,
            "qk_nope_head_dim": 8,
            "v_head_dim": 12,
            "head_dim": 8,
            "num_key_value_heads": 6,
            "first_k_dense_replace": 1,
            "n_routed_experts": 4,
            "num_experts_per_tok": 2,
            "n_group": 1,
            "topk_group": 1,
            "moe_intermediate_size": 32,
            "n_shared_experts": 1,
        },
    ),
}


@pytest.mark.parametrize(("model_type", "fields"), EQUAL.values(), ids=EQUAL)
async def test_what_is_served_is_equal(model_type: str, fields: dict[str, Any], tmp_path: Path) -> None:
    """Prompts longer than the window come out as transformers' own generation has them."""
    folder = make(tmp_path, model_type, **fields)
    expected = [greedy(reference(folder), prompt, 12) for prompt in prompts()]
    assert await answers(folder) == expected


REFUSED: dict[str, tuple[str, dict[str, Any], str]] = {
    "two calls for a layer": ("diffllama", {}, "layer 0 computes attention more than once"),
    "a mask of its own": ("doge", {"num_experts": 4}, "it makes masks of a kind of its own"),
    "a mask of its own, windowed": (
        "doge",
        {"num_experts": 4, "sliding_window": 8},
        "masks of a kind of its",
    ),
    "chunks": (
        "llama4_text",
        {"attention_chunk_size": 32, **_MOE, "intermediate_size_mlp": 96, "no_rope_layers": [1, 1]},
        "hides other tokens than a causal window does.* with a context length of 32 at most it can be served",
    ),
    "both ways": ("bert", {}, "hides other tokens than a causal window"),
    "both ways, shifted positions": ("roberta", {}, "hides other tokens than a causal window"),
    "sinks": ("gpt_oss", _MOE, "attention sinks are not computed"),
    "options that are dropped": ("nemotron", {}, "do not hand on what attention is called with"),
    "state": ("bloom", {"n_layer": 2, "n_head": 6}, "keep state that the paged cache cannot hold"),
}


@pytest.mark.parametrize(("model_type", "fields", "words"), REFUSED.values(), ids=REFUSED)
def test_what_cannot_be_computed_is_refused(
    model_type: str, fields: dict[str, Any], words: str, tmp_path: Path
) -> None:
    """At load, by what the model asks for, and never only when a prompt gets long."""
    folder = make(tmp_path, model_type, **fields)
    with pytest.raises(UnsupportedModelError, match=f"models of type {model_type} are not served: .*{words}"):
        load_model(folder, torch.float32, CPU)


async def test_chunks_that_no_sequence_leaves_are_no_reason(tmp_path: Path) -> None:
    """A context length within the first chunk makes the mask a causal one."""
    fields = REFUSED["chunks"][1] | {"attention_chunk_size": 128}
    folder = make(tmp_path, "llama4_text", **fields)
    expected = [greedy(reference(folder), prompt, 12) for prompt in prompts()]
    assert await answers(folder, context_length=128) == expected
