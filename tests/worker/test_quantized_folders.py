"""Quantised folders compute with the numbers that they stand for, or are refused by name."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from inferloom_worker.embed.options import EmbedOptions
from inferloom_worker.engine.options import Dtype, EngineOptions
from inferloom_worker.engines.torch.torch_loading import load_causal
from inferloom_worker.hosting.load_options import LoadOptions
from inferloom_worker.hosting.model_loading import load_model
from inferloom_worker.sourcing.sources import SourceError
from inferloom_worker.stepping.batch import Span, StepBatch
from tests.worker.embedding_models import bert_cls, decoder
from tests.worker.folder_changes import edit
from tests.worker.models import VOCABULARY, make_model
from tests.worker.quantized_folders import REFUSED, SCHEMES, write_quantized

TOKENS = torch.randint(0, VOCABULARY, (24,), generator=torch.Generator().manual_seed(1)).tolist()


def logits(folder: Path, dtype: Dtype) -> torch.Tensor:
    """What the model gives for :data:`TOKENS`, as it is served."""
    model = load_causal(folder, EngineOptions(dtype=dtype, threads=1))
    model.allocate(4)
    rows = list(range(len(TOKENS)))
    return model.forward(StepBatch(TOKENS, rows, [Span(0, len(rows), len(rows), [0, 1])], rows))


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Llama model that the kernels compute."""
    return make_model(
        tmp_path_factory.mktemp("base"), "llama", hidden_size=64, num_attention_heads=4, head_dim=16
    )


@pytest.mark.parametrize("dtype", ["auto", "float32"])
@pytest.mark.parametrize("scheme", SCHEMES)
def test_scales_are_applied(scheme: str, dtype: Dtype, base: Path, tmp_path: Path) -> None:
    """The answers are those of the same numbers unquantised, in the kernels and in torch."""
    folder = write_quantized(base, tmp_path / "m", SCHEMES[scheme])
    actual, expected = logits(folder, dtype), logits(tmp_path / "m-plain", dtype)
    assert torch.allclose(actual, expected, atol=1e-4 if dtype == "float32" else 0.05)
    # The weights are so much smaller than their integers that answers without scales are others.
    assert actual.argmax(-1).tolist() == expected.argmax(-1).tolist()


@pytest.mark.parametrize("dtype", ["auto", "float32"])
@pytest.mark.parametrize(("config", "words"), REFUSED.values(), ids=REFUSED)
def test_another_method_is_refused_by_name(
    config: dict[str, Any], words: str, dtype: Dtype, tmp_path: Path
) -> None:
    """The message says how the model is quantised, and what to use instead."""
    folder = decoder(tmp_path / "m")
    edit("config.json", quantization_config=config)(folder)
    with pytest.raises(
        SourceError, match=f"is quantised with {words}, .*use the unquantised model or a GGUF"
    ):
        load_model("m", str(folder), LoadOptions(engine=EngineOptions(dtype=dtype)))


@pytest.mark.parametrize("method", ["fp8", "gptq"])
def test_an_encoder_is_refused_by_name(method: str, tmp_path: Path) -> None:
    """sentence-transformers would take float8 for weights as they stand."""
    folder = bert_cls(tmp_path / "m")
    edit("config.json", quantization_config={"quant_method": method})(folder)
    with pytest.raises(SourceError, match=f"is quantised with {method}, .*use the unquantised model"):
        load_model("m", str(folder), LoadOptions(embed=EmbedOptions(dtype="float32")))


@pytest.mark.parametrize(
    ("dtype", "words"), [(torch.int8, "int8"), (torch.uint8, "uint8"), (torch.float8_e4m3fn, "float8_e4m3fn")]
)
def test_numbers_that_nothing_explains_are_refused(
    dtype: torch.dtype, words: str, base: Path, tmp_path: Path
) -> None:
    """Integers without a quantization_config are no weights."""
    tensors = load_file(base / "model.safetensors")
    name = "model.layers.0.mlp.up_proj.weight"
    tensors[name] = (tensors[name] * 10).to(dtype)
    save_file(tensors, tmp_path / "model.safetensors", {"format": "pt"})
    (tmp_path / "config.json").write_text((base / "config.json").read_text())
    with pytest.raises(ValueError, match=rf"{name} is stored as {words} .*no quantization_config"):
        load_causal(tmp_path, EngineOptions(dtype="float32"))


@pytest.mark.parametrize("scale", [None, (3, 1), (64, 7)])
def test_a_scale_that_is_missing_or_does_not_fit_is_named(
    scale: tuple[int, int] | None, base: Path, tmp_path: Path
) -> None:
    """Never is a weight taken without its scale."""
    folder = write_quantized(base, tmp_path / "m", SCHEMES["compressed-int8"])
    tensors = load_file(folder / "model.safetensors")
    del tensors["model.layers.1.self_attn.q_proj.weight_scale"]
    if scale is not None:
        tensors["model.layers.1.self_attn.q_proj.weight_scale"] = torch.ones(scale)
    save_file(tensors, folder / "model.safetensors", {"format": "pt"})
    with pytest.raises(ValueError, match=r"model\.layers\.1\.self_attn\.q_proj\.weight is"):
        load_causal(folder, EngineOptions(dtype="float32"))


def test_the_card_names_the_method(tmp_path: Path) -> None:
    """As the folder does."""
    folder = write_quantized(decoder(tmp_path / "base"), tmp_path / "m", SCHEMES["fp8-block"])
    for name in ("tokenizer.json", "tokenizer_config.json"):
        (folder / name).write_text((tmp_path / "base" / name).read_text())
    served = load_model("m", str(folder), LoadOptions(engine=EngineOptions(dtype="float32")))
    served.close()
    assert served.card.quantization == "fp8"
    assert json.loads((folder / "config.json").read_text())["quantization_config"]
