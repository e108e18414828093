"""What cannot be loaded says in one sentence what it is and what to do."""

import json
import re
import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from gguf import GGUFEndian, GGUFWriter
from safetensors.torch import save_file

from inferloom_worker.embed.options import EmbedOptions
from inferloom_worker.engine.options import EngineOptions
from inferloom_worker.engines.torch.torch_loading import load_model as load_weights
from inferloom_worker.hosting.load_options import LoadOptions
from inferloom_worker.hosting.model_loading import load_model
from inferloom_worker.sourcing.sources import SourceError, SourceKind, resolve
from inferloom_worker.stepping.batch import Span, StepBatch
from tests.worker.embedding_models import bert_dense, decoder
from tests.worker.folder_changes import write
from tests.worker.gguf_files import write_gguf
from tests.worker.models import make_model, reference

POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a2146\nsize 12345\n"
OPTIONS = LoadOptions(
    engine=EngineOptions(dtype="float32", kv_cache_bytes=0), embed=EmbedOptions(dtype="float32")
)
CPU = torch.device("cpu")
INDEX = "model.safetensors.index.json"


def refusal(spec: Path) -> str:
    """What loading says."""
    with pytest.raises(SourceError) as refused:
        load_model("m", str(spec), OPTIONS)
    assert "log says why" not in str(refused.value)
    return str(refused.value)


def cut(folder: Path) -> None:
    """Take the end away from the weights."""
    file = folder / "model.safetensors"
    file.write_bytes(file.read_bytes()[:-100])


def scramble(folder: Path) -> None:
    """Give the weights a header that is no JSON."""
    file = folder / "model.safetensors"
    file.write_bytes(struct.pack("<Q", 40) + b"{" * 40 + bytes(100))


FOLDERS: dict[str, tuple[Callable[[Path], object], str]] = {
    "cut short": (cut, r"model\.safetensors is damaged or cut short"),
    "no header": (scramble, r"model\.safetensors is damaged or cut short"),
    "pointer": (
        lambda f: (f / "model.safetensors").write_bytes(POINTER),
        r"model\.safetensors is a Git LFS pointer and not the file itself; run 'git lfs pull'",
    ),
    "empty index": (write(INDEX), "has no weight_map from tensors to files"),
    "index of numbers": (write(INDEX, json.dumps({"weight_map": {"a": 1}})), "has no weight_map"),
    "index is no JSON": (write(INDEX, "{"), f"{INDEX} is not JSON"),
    "config is no JSON": (write("config.json", "{"), r"config\.json is not JSON"),
    "a shard is missing": (
        write(INDEX, json.dumps({"weight_map": {"a": "other.safetensors"}})),
        r"lacks other\.safetensors, which its model\.safetensors\.index\.json names",
    ),
    "tensors are missing": (
        lambda f: save_file({"model.norm.weight": torch.ones(64)}, f / "model.safetensors"),
        r"no tensor model\.layers\.0\.self_attn\.q_proj\.weight \(32 × 64\)",
    ),
}


@pytest.mark.parametrize(("change", "words"), FOLDERS.values(), ids=FOLDERS)
def test_a_folder_that_is_damaged_is_told(
    change: Callable[[Path], object], words: str, tmp_path: Path
) -> None:
    """The file at fault and what is wrong with it."""
    folder = decoder(tmp_path / "m")
    change(folder)
    message = refusal(folder)
    assert "\n" not in message
    assert re.search(words, message), message


@pytest.mark.parametrize("change", [cut, scramble])
def test_an_encoder_that_is_damaged_is_told(change: Callable[[Path], None], tmp_path: Path) -> None:
    """In sentence-transformers' modules, too."""
    folder = bert_dense(tmp_path / "m")
    change(folder)
    assert "model.safetensors is damaged or cut short" in refusal(folder)


def plain_gguf(path: Path, architecture: str = "llama", **values: int) -> Path:
    """A GGUF file with one tensor."""
    writer = GGUFWriter(path, architecture)
    for key, value in values.items():
        writer.add_uint32(key.replace("__", "."), value)
    writer.add_tensor("token_embd.weight", np.zeros((4, 32), np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def test_a_pointer_is_told_from_a_damaged_file(tmp_path: Path) -> None:
    """It says what to run."""
    (tmp_path / "m.gguf").write_bytes(POINTER)
    assert "is a Git LFS pointer and not the file itself; run 'git lfs pull'" in refusal(tmp_path / "m.gguf")


@pytest.mark.parametrize("alignment", [0, 12, 4])
def test_a_bad_alignment_is_told(alignment: int, tmp_path: Path) -> None:
    """Nothing is divided by it."""
    file = plain_gguf(tmp_path / "m.gguf")
    content = file.read_bytes()
    architecture = b"general.architecture"
    at = content.index(architecture) - 8
    key = struct.pack("<Q", 17) + b"general.alignment" + struct.pack("<II", 4, alignment)
    count = struct.unpack_from("<Q", content, 16)[0]
    file.write_bytes(content[:16] + struct.pack("<Q", count + 1) + key + content[24:] + bytes(64))
    assert at == 24
    assert f"has an alignment of {alignment}" in refusal(file)


def test_a_big_endian_file_is_told(tmp_path: Path) -> None:
    """Not by a version of millions."""
    writer = GGUFWriter(tmp_path / "m.gguf", "llama", endianess=GGUFEndian.BIG)
    writer.add_uint32("llama.block_count", 1)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.close()
    assert "m.gguf is big-endian; only little-endian files can be read" in refusal(tmp_path / "m.gguf")


@pytest.mark.parametrize(
    ("architecture", "words"),
    [
        ("rwkv6", r"m\.gguf is a GGUF file of the architecture rwkv6, which is not computed"),
        ("unheard-of", r"m\.gguf is a GGUF file of the architecture unheard-of, which is not computed"),
        ("mamba", "models of type mamba are not served: they keep state"),
    ],
)
def test_an_architecture_that_is_not_computed_is_named(architecture: str, words: str, tmp_path: Path) -> None:
    """Whatever transformers makes of its metadata."""
    file = plain_gguf(tmp_path / "m.gguf", architecture)
    with pytest.raises(ValueError, match=words):
        load_weights(file, torch.float32, CPU)


def test_weights_that_are_missing_are_not_made_up(tmp_path: Path) -> None:
    """Metadata alone would be a model of random numbers, of any size."""
    sizes = {"starcoder2__block_count": 2, "starcoder2__embedding_length": 256}
    heads = {"starcoder2__attention__head_count": 4, "starcoder2__feed_forward_length": 512}
    file = plain_gguf(tmp_path / "m.gguf", "starcoder2", **sizes, **heads)
    with pytest.raises(ValueError, match=r"m\.gguf holds 128 numbers, and its metadata describes a model of"):
        load_weights(file, torch.float32, CPU)


def test_a_gguf_file_without_an_embedding_is_told(tmp_path: Path) -> None:
    """The tensor is named."""
    file = write_gguf(reference(make_model(tmp_path / "f", "llama")), tmp_path / "m.gguf")
    file.write_bytes(file.read_bytes().replace(b"token_embd.weight", b"token_embx.weight"))
    with pytest.raises(ValueError, match=r"m\.gguf has no tensor token_embd\.weight"):
        load_weights(file, torch.float32, CPU)


def test_a_gguf_file_is_known_by_its_content(tmp_path: Path) -> None:
    """Ollama's blobs have no suffix, and suffixes come in capitals."""
    for name in ("sha256-60ed54e1", "BASE.GGUF"):
        assert resolve(str(plain_gguf(tmp_path / name))).kind is SourceKind.GGUF
    (tmp_path / "sha256-other").write_bytes(b"PK\x03\x04")
    with pytest.raises(SourceError, match="sha256-other is not a GGUF file"):
        resolve(str(tmp_path / "sha256-other"))


def test_a_folder_with_one_gguf_file_is_that_file(tmp_path: Path) -> None:
    """Of several it is asked which; the parts of one model are one."""
    only = plain_gguf(tmp_path / "BASE.GGUF")
    assert resolve(str(tmp_path)).path == only
    assert resolve(str(tmp_path)).root == "BASE.GGUF"
    plain_gguf(tmp_path / "other.gguf")
    with pytest.raises(
        SourceError, match=r"a folder with 2 GGUF files; name one of them, such as BASE\.GGUF"
    ):
        resolve(str(tmp_path))
    split = tmp_path / "split"
    split.mkdir()
    first, _ = (plain_gguf(split / f"m-0000{i}-of-00002.gguf") for i in (1, 2))
    assert resolve(str(split)).path == first


def test_a_model_in_parts_is_read_whole(tmp_path: Path) -> None:
    """Given its first part, its answers are those of the model in one file."""
    model = reference(make_model(tmp_path / "f", "llama"))
    whole = write_gguf(model, tmp_path / "whole.gguf")
    parts = write_gguf(model, tmp_path / "m.gguf", parts=3)
    assert parts.name == "m-00001-of-00003.gguf"
    logits = []
    for file in (whole, parts):
        loaded = load_weights(file, torch.float32, CPU)
        loaded.allocate(2)
        logits.append(loaded.forward(StepBatch([5, 6, 7], [0, 1, 2], [Span(0, 3, 3, [0])], [2])))
    assert torch.equal(*logits)


def test_a_part_without_the_others_is_told(tmp_path: Path) -> None:
    """Which is missing, which is the first, and that they can be merged."""
    first = write_gguf(reference(make_model(tmp_path / "f", "llama")), tmp_path / "m.gguf", parts=3)
    second, third = (tmp_path / f"m-0000{i}-of-00003.gguf" for i in (2, 3))
    assert "part 2 of 3; name m-00001-of-00003.gguf, or merge them with llama-gguf-split" in refusal(second)
    renamed = tmp_path / "renamed.gguf"
    first.rename(renamed)
    assert "is one of 3 parts, and its name does not say" in refusal(renamed)
    renamed.rename(first)
    third.unlink()
    assert f"is one of 3 parts, and {third.name} is not beside it" in refusal(first)
    third.write_bytes(second.read_bytes())
    assert f"{third.name} is not part 3 of 3 of the same model" in refusal(first)


@pytest.mark.parametrize("spec", ["x" * 20_000, "a\0b", "y" * 300, "/" + "z/" * 3000, "~nobody-here/m"])
def test_a_spec_that_is_no_path_is_told(spec: str) -> None:
    """The system's own limits are no errors of the worker, and no message repeats it all."""
    with pytest.raises(SourceError) as refused:
        load_model("m", spec, OPTIONS)
    assert len(str(refused.value)) < 300
