"""Reading model files."""

from pathlib import Path

import numpy as np
import pytest
import torch
from gguf import GGMLQuantizationType, GGUFReader, GGUFWriter
from gguf.quants import dequantize, quantize
from safetensors.torch import save_file

from inferloom_worker.weights.bfloat16 import round_bfloat16
from inferloom_worker.weights.checkpoint import FolderCheckpoint, GgufCheckpoint, gguf_name
from inferloom_worker.weights.gguf import GgufError, read_gguf
from inferloom_worker.weights.groups import quantize_int4, quantize_int8
from inferloom_worker.weights.sources import RoundedSource

TYPES = [
    GGMLQuantizationType.F32,
    GGMLQuantizationType.F16,
    GGMLQuantizationType.Q8_0,
    GGMLQuantizationType.Q4_1,
]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A small GGUF file with a tensor of each type and metadata of each kind."""
    path = tmp_path / "small.gguf"
    writer = GGUFWriter(path, "llama")
    writer.add_uint32("llama.attention.head_count", 2)
    writer.add_uint32("llama.attention.head_count_kv", 1)
    writer.add_array("words", ["ein", "zwei", "drei"])
    writer.add_array("numbers", [1.5, 2.5])
    writer.add_bool("flag", True)
    values = np.random.default_rng(1).normal(size=(8, 64)).astype(np.float32)
    for kind in TYPES:
        writer.add_tensor(f"blk.0.{kind.name}.weight", quantize(values, kind), raw_dtype=kind)
    writer.add_tensor("blk.0.attn_q.weight", values)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def test_metadata_and_tensors_are_those_of_the_gguf_package(file: Path) -> None:
    """Every value and every dequantised tensor equals what the reference reader gives."""
    expected = GGUFReader(file)
    actual = read_gguf(file)
    assert actual.metadata["words"] == ["ein", "zwei", "drei"]
    assert actual.metadata["numbers"] == [1.5, 2.5]
    assert actual.metadata["flag"] is True
    assert actual.value("attention.head_count") == 2
    assert [t.name for t in expected.tensors] == list(actual.tensors)
    for tensor in expected.tensors:
        assert np.array_equal(
            dequantize(tensor.data, tensor.tensor_type), actual.tensors[tensor.name].dequantized()
        )


@pytest.mark.parametrize("length", [0, 3, 40, 200, -100])
def test_a_damaged_file_is_named_as_such(file: Path, length: int) -> None:
    """Cut anywhere, a file is refused in a sentence, not with a crash or a wrong tensor."""
    file.write_bytes(file.read_bytes()[:length])
    with pytest.raises(GgufError, match=r"small\.gguf|the header"):
        read_gguf(file)


def test_another_kind_of_file_is_refused(tmp_path: Path) -> None:
    """A file without the magic is not read."""
    path = tmp_path / "model.gguf"
    path.write_bytes(b"PK\x03\x04" + b"\0" * 100)
    with pytest.raises(GgufError, match="not a GGUF file"):
        read_gguf(path)


def test_rotary_rows_are_put_in_transformers_order(file: Path) -> None:
    """Query rows of Llama files go from interleaved pairs to halves, within each head."""
    raw = read_gguf(file)
    found = GgufCheckpoint(raw).find("model.layers.0.self_attn.q_proj.weight")
    assert found is not None
    stored = torch.from_numpy(raw.tensors["blk.0.attn_q.weight"].dequantized().copy())
    assert torch.equal(found, stored[[0, 2, 1, 3, 4, 6, 5, 7]])


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("model.embed_tokens.weight", "token_embd.weight"),
        ("lm_head.weight", "output.weight"),
        ("model.layers.12.mlp.up_proj.weight", "blk.12.ffn_up.weight"),
        ("model.layers.0.self_attn.q_proj.bias", "blk.0.attn_q.bias"),
    ],
)
def test_names_are_translated(name: str, expected: str) -> None:
    """Transformers' tensor names map to GGUF's."""
    assert gguf_name(name, "llama") == expected


def test_a_folder_gives_its_safetensors_and_nothing_pickled(tmp_path: Path) -> None:
    """Tensors are found by name; a folder of pickles alone is refused."""
    (tmp_path / "pytorch_model.bin").write_bytes(b"pickle")
    with pytest.raises(FileNotFoundError, match="no safetensors"):
        FolderCheckpoint(tmp_path)
    save_file({"a": torch.arange(3.0)}, tmp_path / "model.safetensors")
    checkpoint = FolderCheckpoint(tmp_path)
    found = checkpoint.find("a")
    assert found is not None
    assert found.tolist() == [0.0, 1.0, 2.0]
    assert checkpoint.find("b") is None


def test_the_vocabulary_can_be_rounded_otherwise(tmp_path: Path) -> None:
    """The embedding and the head are rounded by their own rule, every other matrix by the common one."""
    vocabulary = ("model.embed_tokens.weight", "lm_head.weight")
    matrices = {name: torch.randn(4, 32) for name in (*vocabulary, "model.layers.0.mlp.up_proj.weight")}
    save_file(matrices, tmp_path / "model.safetensors")
    source = RoundedSource(FolderCheckpoint(tmp_path), quantize_int4, of_vocabulary=quantize_int8)
    for name, weights in matrices.items():
        rounding = quantize_int8 if name in vocabulary else quantize_int4
        assert np.array_equal(source.matrix(name).dequantized(), rounding(weights.numpy()).dequantized())


@pytest.mark.parametrize("shape", [(1, 32), (7, 33), (3, 70000)])
def test_bfloat16_is_rounded_as_torch_rounds_it(shape: tuple[int, int]) -> None:
    """Numbers of every size, ties, and what is too large."""
    rng = np.random.default_rng(3)
    values = rng.integers(0, 2**32, shape, np.uint32)
    values[:, ::3] = values[:, ::3] >> 15 << 15  # halfway, or bfloat16 already
    weights = values.view(np.float32)
    weights = np.where(np.isnan(weights), np.float32(1), weights)
    expected = torch.from_numpy(weights).to(torch.bfloat16).view(torch.uint16).numpy()
    assert np.array_equal(round_bfloat16(weights).values, expected)
