"""Hashes in cards: equal where answers are equal, and nowhere else."""

import ctypes
import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from gguf import GGMLQuantizationType, LlamaFileType
from safetensors.torch import load_file, save_file

from inferloom.v1 import inference_pb2 as pb
from inferloom_worker.embed.options import EmbedOptions
from inferloom_worker.engine.options import EngineOptions
from inferloom_worker.hosting import computing
from inferloom_worker.hosting.card import quantization
from inferloom_worker.hosting.computing import computed_with
from inferloom_worker.hosting.generator import Generator
from inferloom_worker.hosting.load_options import LoadOptions
from inferloom_worker.hosting.model_loading import load_adapter, load_model
from inferloom_worker.hosting.weights_hash import model_files, weights_hash
from inferloom_worker.kernels import build
from inferloom_worker.kernels import library as kernels
from inferloom_worker.sourcing.sources import resolve
from tests.worker import cross_encoders
from tests.worker.adapters import make_adapter
from tests.worker.embedding_models import bert_cls, decoder
from tests.worker.folder_changes import edit, write
from tests.worker.gguf_files import write_gguf
from tests.worker.models import make_model, reference


def card(spec: Path | str, **options: object) -> pb.Model:
    """The card of a model that is loaded and closed again."""
    settings = {"dtype": "float32", "kv_cache_bytes": 0, "max_running": 2, **options}
    served = load_model(
        "m",
        str(spec),
        LoadOptions(engine=EngineOptions(**settings), embed=EmbedOptions(dtype="float32")),  # type: ignore[arg-type]
    )
    served.close()
    return served.card


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A model that generates, and that the kernels compute."""
    made = make_model(tmp_path / "m", "llama", hidden_size=64, num_attention_heads=4, head_dim=16)
    for file in decoder(tmp_path / "tokens").glob("tokenizer*.json"):
        shutil.copy(file, made / file.name)
    return made


def test_the_hash_of_weights_is_their_content(folder: Path, tmp_path: Path) -> None:
    """What files are called, the folder, the settings and the type that is computed in do not count."""
    first = card(folder)
    other = shutil.copytree(folder, tmp_path / "other")
    (other / "model.safetensors").rename(other / "weights.safetensors")
    write("generation_config.json", '{"temperature": 0.5}')(other)
    second = card(other, dtype="auto")

    assert first.weights_hash == second.weights_hash
    assert first.compute_hash != second.compute_hash


@pytest.mark.parametrize(
    "change",
    [
        edit("config.json", rms_norm_eps=1e-3),
        write("generation_config.json", '{"temperature": 0.5}'),
        write("chat_template.jinja", "{{ messages[0].content }}"),
    ],
)
def test_whatever_an_answer_depends_on_changes_the_compute_hash(
    change: Callable[[Path], None], folder: Path
) -> None:
    """With the same weights."""
    before = card(folder)
    change(folder)
    after = card(folder)

    assert before.weights_hash == after.weights_hash
    assert before.compute_hash != after.compute_hash


def test_other_weights_change_both_hashes(folder: Path) -> None:
    """One number is enough."""
    before = card(folder)
    tensors = load_file(folder / "model.safetensors")
    tensors["model.norm.weight"][0] += 1
    save_file(tensors, folder / "model.safetensors", {"format": "pt"})
    after = card(folder)

    assert before.weights_hash != after.weights_hash
    assert before.compute_hash != after.compute_hash


def test_every_part_of_a_model_counts(tmp_path: Path) -> None:
    """Models in several GGUF files that differ in the last one only."""
    model = reference(make_model(tmp_path / "f", "llama"))
    files = []
    for name in ("one", "other"):
        (tmp_path / name).mkdir()
        files.append(write_gguf(model, tmp_path / name / "m.gguf", parts=3))
        with torch.no_grad():
            list(model.state_dict().values())[-1][0] += 1
    first, second = (model_files(resolve(str(file))) for file in files)

    assert [file.read_bytes() for file in first[:2]] == [file.read_bytes() for file in second[:2]]
    assert weights_hash(first) != weights_hash(second)


def test_how_it_is_loaded_changes_the_compute_hash(folder: Path) -> None:
    """The type, the quantisation, and the longest sequence; not the memory for them, nor the name."""
    plain = card(folder)
    assert plain.compute_hash == card(folder, max_running=3, kv_cache_bytes=1 << 20).compute_hash
    others = [card(folder, dtype="float16"), card(folder, context_length=64), card(folder, dtype="auto")]
    others.append(card(folder, dtype="auto", quantize="int8"))
    assert len({plain.compute_hash, *(other.compute_hash for other in others)}) == 5


def test_cosmetic_changes_of_a_config_change_nothing(folder: Path) -> None:
    """Who wrote it, with which version, and in which order."""
    before = card(folder)
    edit("config.json", transformers_version="9.9", _name_or_path="somewhere")(folder)
    assert before.compute_hash == card(folder).compute_hash


def test_a_card_names_what_computes(folder: Path, tmp_path: Path) -> None:
    """The engine, and what it computes with where results depend on it."""
    assert (card("echo").engine, card("echo").instruction_set) == ("echo", "")
    assert card(folder).engine == "torch"
    assert card(folder).instruction_set
    encoder = card(bert_cls(tmp_path / "e"))
    assert card(folder, dtype="auto").engine in ("kernels", "torch")
    assert (encoder.engine, bool(encoder.instruction_set)) == ("sentence-transformers", True)


def kernels_card(folder: Path) -> pb.Model:
    """The card of a model that is computed as well as this machine can, by the kernels where they do it."""
    options = EngineOptions(kv_cache_bytes=0, max_running=2)
    served = load_model("m", str(folder), LoadOptions(engine=options, embed=EmbedOptions(device="cpu")))
    served.close()
    return served.card


@pytest.fixture
def pretended(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """Makes the processor one of another kind, for whoever asks what is computed with."""

    def pretend() -> None:
        here = kernels._processor()
        monkeypatch.setattr(kernels, "_processor", lambda: here | {"avx512_bf16"})
        monkeypatch.setattr(kernels, "_WITH_BF16", dict.fromkeys(build.VARIANTS, "another"))
        monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: "ANOTHER")

    return pretend


@pytest.mark.parametrize("make", [decoder, bert_cls, cross_encoders.bert])
@pytest.mark.parametrize("computed", [kernels_card, card])
def test_another_instruction_set_is_another_compute_hash_of_the_same_model(
    make: Callable[[Path], Path],
    computed: Callable[[Path], pb.Model],
    tmp_path: Path,
    pretended: Callable[[], None],
) -> None:
    """Decoders, encoders and cross-encoders, in the kernels and in torch: the last digits depend on it."""
    made = make(tmp_path / "m")
    before, same = computed(made), computed(made)
    pretended()
    after = computed(made)
    assert before.compute_hash == same.compute_hash
    assert after.instruction_set == "another"
    assert before.compute_hash != after.compute_hash
    assert before.definition_hash == after.definition_hash != ""


def test_other_sources_of_the_kernels_are_another_compute_hash(monkeypatch: pytest.MonkeyPatch) -> None:
    """They decide the form of activations and the order of sums; other versions of libraries do, too."""
    before = computed_with("kernels", "avx2")
    assert before == computed_with("kernels", "avx2") != computed_with("kernels", "avx512")
    with monkeypatch.context() as changed:
        changed.setattr(computing, "built_from", lambda: "other")
        assert computed_with("kernels", "avx2") != before
    torched = computed_with("torch", "avx2")
    monkeypatch.setattr(computing, "version", lambda name: "99")
    assert computed_with("torch", "avx2") != torched
    assert computed_with("echo", "") == ""


def test_a_library_says_what_it_was_built_from(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Wherever it was compiled; and one that was compiled by something else is told by its file."""
    if (compiler := os.environ.get("CXX") or shutil.which("g++") or shutil.which("clang++")) is None:
        pytest.skip("there is no C++ compiler")
    source = tmp_path / "src" / "api.cpp"
    source.parent.mkdir()
    monkeypatch.setattr(build, "SOURCES", source.parent)

    def compiled(name: str, words: str, *flags: str) -> str:
        source.write_text(f'extern "C" const char* il_built_from() {{ return IL_BUILT_FROM; }} // {words}')
        build.version.cache_clear()
        build.compile_all({tmp_path / name: flags})
        assert kernels.told_by(ctypes.CDLL(str(tmp_path / name))) == build.mark(flags)
        return build.mark(flags)

    try:
        first = compiled("first", "one")
        assert compiled("again", "one") == first
        assert len({first, compiled("flags", "one", "-DMORE"), compiled("other", "two")}) == 3
    finally:
        build.version.cache_clear()
    for name in ("stale", "older"):
        source.write_text(f"int {name}() {{ return 0; }}")
        subprocess.run([compiler, "-shared", "-fPIC", "-o", tmp_path / name, source], check=True)
    shutil.copy(tmp_path / "stale", tmp_path / "copy")
    stale, copy, older = (
        kernels.told_by(ctypes.CDLL(str(tmp_path / name))) for name in ("stale", "copy", "older")
    )
    assert stale.startswith("file ")
    assert stale == copy != older


def test_the_library_in_use_counts_and_not_the_sources_beside_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that was left from other sources, and one that the environment names, compute something else."""
    marks = []
    for content in (b"one", b"other"):
        file = tmp_path / content.decode()
        file.write_bytes(content)
        monkeypatch.setattr(kernels, "library", lambda file=file: SimpleNamespace(_name=str(file)))
        kernels.built_from.cache_clear()
        marks.append(computed_with("kernels", "avx2"))
    kernels.built_from.cache_clear()
    assert marks[0] != marks[1]


def test_instructions_for_bfloat16_are_another_set(monkeypatch: pytest.MonkeyPatch) -> None:
    """One library takes them where the processor has them, and holds activations in another form then."""
    needed = frozenset(kernels._LINUX_NAMES.get(name, name) for name in build.VARIANTS["avx512"])
    monkeypatch.setattr(kernels, "can_run", kernels.suits)
    monkeypatch.setattr(kernels, "_processor", lambda: needed)
    assert kernels.instruction_set() == "avx512"
    monkeypatch.setattr(kernels, "_processor", lambda: needed | {"avx512_bf16"})
    assert kernels.instruction_set() == "avx512_bf16"
    monkeypatch.setattr(kernels, "_processor", lambda: frozenset({"avx512_bf16"}))
    assert kernels.instruction_set() == "generic"


def test_an_adapter_counts(tmp_path: Path) -> None:
    """Its hashes are made of the base's and its own content."""
    folder = decoder(tmp_path / "m")
    options = LoadOptions(engine=EngineOptions(dtype="float32", kv_cache_bytes=0))
    base = load_model("m", str(folder), options)
    assert isinstance(base, Generator)
    cards = [
        load_adapter("a", base, str(make_adapter(tmp_path / f"a{seed}", folder, seed=seed))).card
        for seed in (1, 1, 2)
    ]
    base.close()
    same, equal, other = cards
    assert (same.weights_hash, same.compute_hash) == (equal.weights_hash, equal.compute_hash)
    assert len({base.card.compute_hash, same.compute_hash, other.compute_hash}) == 3


@pytest.mark.parametrize(
    ("stated", "expected"),
    [
        (LlamaFileType.MOSTLY_Q4_K_M, "Q4_K_M"),
        (LlamaFileType.MOSTLY_F16, ""),
        (LlamaFileType.GUESSED, "Q8_0"),
        (None, "Q8_0"),
    ],
)
def test_a_gguf_file_has_the_type_that_it_states(
    stated: LlamaFileType | None, expected: str, tmp_path: Path
) -> None:
    """A mix is not named by most of its bytes, where the file says what it is."""
    model = reference(make_model(tmp_path / "f", "llama", hidden_size=64, num_attention_heads=4, head_dim=16))
    more = {} if stated is None else {"general.file_type": int(stated)}
    path = write_gguf(model, tmp_path / "m.gguf", {"": GGMLQuantizationType.Q8_0}, more=more)
    assert quantization(resolve(str(path))) == expected
