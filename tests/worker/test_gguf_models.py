"""GGUF files of each architecture, against the transformers model that they were written from."""

from pathlib import Path

import pytest
import torch
from gguf import GGUFWriter
from transformers import AutoConfig

from inferloom_worker.engines.torch.torch_loading import load_model
from inferloom_worker.models.config_gguf import MODEL_TYPES, from_gguf
from inferloom_worker.models.protocol import UnsupportedModelError
from inferloom_worker.stepping.batch import Span, StepBatch
from inferloom_worker.weights.checkpoint import gguf_name
from inferloom_worker.weights.gguf import read_gguf
from tests.worker.gguf_files import write_gguf, write_value
from tests.worker.models import VOCABULARY, make_model, reference

CPU = torch.device("cpu")
TOKENS = torch.randint(0, VOCABULARY, (100,), generator=torch.Generator().manual_seed(1)).tolist()

# Files of Gemma say nothing about the scale of scores, nor about the order of windows.
GEMMA: dict[str, object] = {"query_pre_attn_scalar": 8, "num_hidden_layers": 7, "sliding_window_pattern": 6}
FILES: dict[str, dict[str, object]] = {
    "llama": {},
    "llama-tied": {},
    "llama-biased": {},
    "llama-scaled": {},
    "llama-yarn": {},
    "llama-linear": {},
    "qwen2": {},
    "qwen3": {},
    "gemma": {},
    "gemma2": GEMMA,
    "gemma3": GEMMA,
    "phi3": {},
    "phi3-partial": {},
    "phi3-longrope": {},
}


@pytest.mark.parametrize(("architecture", "fields"), FILES.items(), ids=FILES)
def test_logits_are_those_of_the_model_it_was_written_from(
    architecture: str, fields: dict[str, object], tmp_path: Path
) -> None:
    """Metadata, names and changed weights are read as llama.cpp's converter writes them."""
    expected = reference(make_model(tmp_path / "folder", architecture, **fields))
    file = write_gguf(expected, tmp_path / "model.gguf")
    model = load_model(file, torch.float32, CPU, context_length=128)
    model.allocate(8)
    rows = list(range(len(TOKENS)))
    actual = model.forward(StepBatch(TOKENS, rows, [Span(0, len(rows), len(rows), list(range(7)))], rows))
    with torch.inference_mode():
        wanted = expected(torch.tensor([TOKENS])).logits[0]
    assert torch.allclose(actual.log_softmax(-1), wanted.log_softmax(-1), atol=1e-3)


@pytest.mark.parametrize("architecture", MODEL_TYPES)
def test_tensor_names_are_those_of_the_gguf_package(architecture: str) -> None:
    """Each name that a model of the architecture may have is what llama.cpp's converter would write."""
    from gguf import get_tensor_name_map
    from gguf.constants import MODEL_ARCH_NAMES

    arch = next(arch for arch, name in MODEL_ARCH_NAMES.items() if name == architecture)
    names = get_tensor_name_map(arch, 3)
    fused = architecture == "phi3"
    parts = ["input_layernorm", "post_attention_layernorm", "self_attn.o_proj", "mlp.down_proj"]
    parts += ["self_attn.qkv_proj", "mlp.gate_up_proj"] if fused else ["self_attn.q_proj", "mlp.up_proj"]
    if architecture in ("gemma2", "gemma3"):
        parts += ["pre_feedforward_layernorm", "post_feedforward_layernorm"]
    for name in (*(f"model.layers.2.{part}" for part in parts), "model.embed_tokens", "model.norm"):
        assert gguf_name(f"{name}.weight", architecture) == f"{names.get_name(name)}.weight"


REFUSED = {
    "experts": (("llama.expert_count", 4), "has experts"),
    "rope": (("llama.rope.scaling.type", "spiral"), "rotary embedding of a kind that is not known"),
    "layers": (("llama.feed_forward_length", [96, 48, 96]), "a feed_forward_length for each layer"),
    "heads": (("llama.attention.key_length", [16, 8, 16]), "a attention.key_length for each layer"),
    "unknown rope": (
        ("llama.rope.dimension_sections", [4, 2, 2]),
        "has llama.rope.dimension_sections, which",
    ),
    "unknown attention": (
        ("llama.attention.temperature_length", 8),
        "has llama.attention.temperature_length",
    ),
    "values": (("llama.attention.value_length", 4), "has values of 4 numbers a head and keys of 8"),
    "not causal": (("llama.attention.causal", False), "generates no text"),
    "factor": (("llama.rope.scaling.factor", -1.0), "scales its rotary embedding by -1"),
    "nothing": (("llama.feed_forward_length", None), "no feed_forward_length"),
}


@pytest.mark.parametrize(("field", "words"), REFUSED.values(), ids=REFUSED)
def test_what_is_not_computed_is_refused(field: tuple[str, object], words: str, tmp_path: Path) -> None:
    """A file with something that neither path would compute right is refused in words."""
    file = write_gguf(reference(make_model(tmp_path / "folder", "llama")), tmp_path / "model.gguf")
    raw = read_gguf(file)
    key, value = field
    changed = type(raw)(raw.path, {**raw.metadata, key: value}, raw.tensors)
    with pytest.raises(UnsupportedModelError, match=words):
        from_gguf(changed)


def logits(path: Path) -> torch.Tensor:
    """What the fast path gives for :data:`TOKENS`, float32."""
    model = load_model(path, torch.float32, CPU, context_length=128)
    model.allocate(8)
    rows = list(range(len(TOKENS)))
    return model.forward(StepBatch(TOKENS, rows, [Span(0, len(rows), len(rows), list(range(7)))], rows))


OLD_KEYS: dict[str, dict[str, object]] = {
    "scale_linear": {"llama.rope.scale_linear": 4.0},
    "factor without type": {"llama.rope.scaling.factor": 4.0},
    "factor of type linear": {"llama.rope.scaling.type": "linear", "llama.rope.scaling.factor": 4.0},
    "both factors": {"llama.rope.scaling.factor": 4.0, "llama.rope.scale_linear": 2.0},
    "no type, Llama 3's divisors": {"llama.rope.scaling.factor": 4.0, "divisors": 1.0},
}


@pytest.mark.parametrize("keys", OLD_KEYS.values(), ids=OLD_KEYS)
def test_rotary_scaling_is_read_as_llama_cpp_reads_it(keys: dict[str, object], tmp_path: Path) -> None:
    """The key of the first files counts, the newer one goes before it, and a factor alone is linear."""
    linear = {"rope_type": "linear", "rope_theta": 10_000.0, "factor": 4.0}
    plain = reference(make_model(tmp_path / "plain", "llama"))
    scaled = reference(make_model(tmp_path / "scaled", "llama", rope_parameters=linear))
    file = write_gguf(plain, tmp_path / "m.gguf", more=keys)
    with torch.inference_mode():
        wanted = scaled(torch.tensor([TOKENS])).logits[0]
    assert torch.allclose(logits(file).log_softmax(-1), wanted.log_softmax(-1), atol=1e-3)


@pytest.mark.parametrize(
    "keys",
    [
        {"llama.rope.scaling.type": "none", "llama.rope.scaling.factor": 4.0},
        {"llama.rope.scaling.type": "linear"},
        {"llama.rope.scaling.factor": 0.0},
        {"llama.attention.causal": True, "llama.rope.scaling.finetuned": True},
    ],
)
def test_rotary_frequencies_stay_plain_where_nothing_scales_them(
    keys: dict[str, object], tmp_path: Path
) -> None:
    """Type none outweighs a factor, and a factor of 0 is none."""
    plain = reference(make_model(tmp_path / "plain", "llama"))
    file = write_gguf(plain, tmp_path / "m.gguf", more=keys)
    with torch.inference_mode():
        wanted = plain(torch.tensor([TOKENS])).logits[0]
    assert torch.allclose(logits(file).log_softmax(-1), wanted.log_softmax(-1), atol=1e-3)


@pytest.mark.parametrize("model_type", ["llama", "gemma", "gemma2", "gemma3"])
def test_what_a_file_is_silent_about_is_what_the_architecture_has(model_type: str, tmp_path: Path) -> None:
    """Soft caps, windows and activations as in transformers' config class, heads as in llama.cpp."""
    file = read_gguf(write_gguf(reference(make_model(tmp_path / "folder", model_type)), tmp_path / "m.gguf"))
    silent = ("softcapping", "sliding_window", "head_count_kv", "key_length", "value_length")
    metadata = {key: value for key, value in file.metadata.items() if not key.endswith(silent)}
    shape = from_gguf(type(file)(file.path, metadata, file.tensors))
    assert shape is not None
    usual = AutoConfig.for_model(MODEL_TYPES[model_type])
    assert shape.activation == ("silu" if model_type == "llama" else "gelu_tanh")
    assert shape.attention_softcap == getattr(usual, "attn_logit_softcapping", None)
    assert shape.final_softcap == getattr(usual, "final_logit_softcapping", None)
    windows = {layer.window for layer in shape.layers}
    assert windows <= {None, getattr(usual, "sliding_window", None)}
    assert (len(windows) > 1 or windows != {None}) == (model_type in ("gemma2", "gemma3"))
    assert (shape.kv_heads, shape.head_dim) == (shape.heads, shape.hidden // shape.heads)


@pytest.mark.parametrize(
    "keys",
    [{"rope.scaling.type": "yarn"}, {"rope.scaling.factor": 4.0}, {"rope.scale_linear": 2.0}],
)
def test_scaled_rotary_embeddings_of_other_architectures_are_refused(
    keys: dict[str, object], tmp_path: Path
) -> None:
    """The general path would read such a file without its scaling."""
    writer = GGUFWriter(tmp_path / "model.gguf", "falcon")
    sizes: dict[str, object] = {"block_count": 1, "embedding_length": 64, "attention.head_count": 4}
    for key, value in (sizes | keys).items():
        write_value(writer, f"falcon.{key}", value)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.close()
    with pytest.raises(UnsupportedModelError, match="scales its rotary embedding"):
        load_model(tmp_path / "model.gguf", torch.float32, CPU)
