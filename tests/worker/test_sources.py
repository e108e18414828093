"""What a person types, resolved to files."""

from collections.abc import Callable
from pathlib import Path

import pytest

from inferloom_worker.hosting import weights_hash as hashing
from inferloom_worker.hosting.card import architecture, quantization
from inferloom_worker.hosting.finding import find_model, require_model_present
from inferloom_worker.hosting.model_class import ModelClass, model_class
from inferloom_worker.hosting.weights_hash import weights_hash
from inferloom_worker.sourcing import demo, hub
from inferloom_worker.sourcing.flags import parse_model_flag
from inferloom_worker.sourcing.sources import ModelSource, SourceError, SourceKind, resolve, resolve_adapter
from inferloom_worker.sourcing.spec import Spec


@pytest.mark.parametrize(
    ("flag", "expected"),
    [
        ("a=b", ("a", "b")),
        ("org/name", ("org/name", "org/name")),
        ("all-minilm-l6-v2", ("all-minilm-l6-v2", "all-minilm-l6-v2")),
        ("x=/models/y.gguf", ("x", "/models/y.gguf")),
        ("/models/y.Q4_1.gguf", ("y.Q4_1", "/models/y.Q4_1.gguf")),
        ("echo", ("echo", "echo")),
        ("echo:delay_ms=5,tokens=9", ("echo", "echo:delay_ms=5,tokens=9")),
        ("e=echo:delay_ms=5", ("e", "echo:delay_ms=5")),
        ("x=torch:/models/y.gguf", ("x", "torch:/models/y.gguf")),
        ("torch:/models/y.gguf", ("y", "torch:/models/y.gguf")),
        ("llama:8b=org/name", ("llama:8b", "org/name")),
    ],
)
def test_a_flag_is_a_name_and_a_spec(flag: str, expected: tuple[str, str]) -> None:
    """A name left out is made from the spec."""
    assert expected == parse_model_flag(flag)


@pytest.mark.parametrize("flag", ["", "=x", "a=", "a b=x", "name\n=x", "x" * 200 + "=y"])
def test_a_flag_without_a_usable_name_or_spec_is_refused(flag: str) -> None:
    """It says what is wrong."""
    with pytest.raises(SourceError):
        parse_model_flag(flag)


def folder(path: Path, *files: str) -> Path:
    """A folder with empty files."""
    path.mkdir()
    for name in files:
        (path / name).touch()
    return path


def test_an_engine_can_be_named(tmp_path: Path) -> None:
    """Before the model's spec; where none is, the model's usual one computes it."""
    (tmp_path / "x.gguf").touch()
    path = tmp_path / "x.gguf"
    assert find_model(f"torch:{path}") == ModelSource(str(path), SourceKind.GGUF, path, engine="torch")
    assert find_model("echo:chunk=2") == ModelSource("echo:chunk=2", SourceKind.ECHO)


def test_an_engine_that_is_not_there_is_refused() -> None:
    """With the list of those that are."""
    with pytest.raises(SourceError, match=r"no engine 'steam'; there are echo, .*torch, vllm"):
        find_model("steam:org/name")
    with pytest.raises(SourceError, match="echo is no model that the engine torch can compute"):
        find_model("torch:echo")


def test_a_file_may_have_a_colon_in_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What exists is what is meant."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "vllm:x.gguf").touch()
    assert find_model("vllm:x.gguf").path == Path("vllm:x.gguf")


def test_local_files_are_found(tmp_path: Path) -> None:
    """A GGUF file, a folder of safetensors, and the echo engine."""
    model = folder(tmp_path / "m", "model-00001-of-00002.safetensors", "pytorch_model.bin")
    (tmp_path / "x.gguf").touch()

    assert resolve(str(model)) == ModelSource(str(model), SourceKind.FOLDER, model)
    assert resolve(str(tmp_path / "x.gguf")).kind is SourceKind.GGUF
    assert resolve("echo:chunk=2") == ModelSource("echo:chunk=2", SourceKind.ECHO)


@pytest.mark.parametrize(
    ("files", "words"),
    [
        (("pytorch_model.bin", "config.json"), "pickles"),
        (("model.ckpt",), "pickles"),
        (("a.gguf", "b.gguf"), "such as a.gguf"),
        (("config.json",), "no \\*.safetensors"),
    ],
)
def test_a_folder_that_cannot_be_loaded_says_why(files: tuple[str, ...], words: str, tmp_path: Path) -> None:
    """Above all one with pickles, which are never opened."""
    with pytest.raises(SourceError, match=words):
        resolve(str(folder(tmp_path / "m", *files)))


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ("./nowhere", "does not exist"),
        ("/no/where.gguf", "does not exist"),
        ("unheard-of", "smollm2-135m-instruct"),
        ("../nowhere/model", "does not exist"),
        ("echo:warp=9", "no option"),
    ],
)
def test_an_unknown_spec_says_what_there_is(spec: str, words: str) -> None:
    """No guess is sent to a hub."""
    with pytest.raises(SourceError, match=words):
        resolve(spec)


def test_a_hub_that_cannot_be_reached_is_told_plainly(monkeypatch: pytest.MonkeyPatch) -> None:
    """The message names the model and the hub, in one line."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(SourceError, match="nobody/nothing is not on this machine, and no model hub"):
        resolve("nobody/nothing")


def test_a_wrong_file_is_told_from_a_model(tmp_path: Path) -> None:
    """A single safetensors file is no model."""
    (tmp_path / "model.safetensors").touch()
    with pytest.raises(SourceError, match="given as its folder"):
        resolve(str(tmp_path / "model.safetensors"))


def test_the_demo_models_cards_are_read_from_their_files(smollm_file: Path, minilm_folder: Path) -> None:
    """Which generates, the architecture and how the weights are stored."""
    chat, encoder = (resolve(name) for name in demo.MODELS)

    assert (chat.path, encoder.path) == (smollm_file, minilm_folder)
    assert (model_class(chat), model_class(encoder)) == (ModelClass.GENERATES, ModelClass.ENCODES)
    assert (architecture(chat), quantization(chat)) == ("LlamaForCausalLM", "Q4_1")
    assert (architecture(encoder), quantization(encoder)) == ("BertModel", "")
    assert (chat.root, encoder.root) == tuple(demo.MODELS)


def test_a_folder_is_told_by_its_configuration(tmp_path: Path) -> None:
    """Modules of sentence-transformers make an encoder, a causal architecture a generating model."""
    model = folder(tmp_path / "m", "model.safetensors")
    (model / "config.json").write_text('{"architectures": ["Qwen3ForCausalLM"]}')
    assert model_class(resolve(str(model))) is ModelClass.GENERATES

    (model / "modules.json").write_text("[]")
    assert model_class(resolve(str(model))) is ModelClass.ENCODES


def test_equal_weights_have_equal_hashes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One changed byte changes the hash, also where a large file is only sampled."""
    paths = [tmp_path / str(i) / "m.gguf" for i in range(3)]
    for i, path in enumerate(paths):
        path.parent.mkdir()
        path.write_bytes(b"a" * 5000 + (b"b" if i == 2 else b"a") + b"a" * 5000)
    for _ in range(2):
        same, equal, other = (weights_hash([path]) for path in paths)
        assert same == equal
        assert same != other
        monkeypatch.setattr(hashing, "WHOLE_BYTES", 1000)
        monkeypatch.setattr(hashing, "SAMPLE_BYTES", 100)


def test_a_path_behind_an_engines_name_is_looked_for_early(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A server's address is none, however it ends; options are no part of it."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "x.gguf").touch()
    for there in (
        "sidecar:http://127.0.0.1:8080/v1?model=qwen3.gguf",
        "http://h/v1?model=x.GGUF",
        "torch:./x.gguf",
        f"vllm:{tmp_path}?max_model_len=9",
        "org/name",
        "echo:chunk=2",
    ):
        require_model_present(there)
    for missing, words in (
        ("vllm:/models/typo?dtype=float32", "^/models/typo does not exist"),
        ("torch:./y.gguf", r"^\./y\.gguf does not exist"),
        ("y.GGUF", r"^y\.GGUF does not exist"),
        ("steam:org/name", "no engine 'steam'"),
    ):
        with pytest.raises(SourceError, match=words):
            require_model_present(missing)


def test_a_relative_path_is_made_absolute_behind_an_engines_name_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is no path stays as it was typed."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "models" / "qwen").mkdir(parents=True)
    here = tmp_path.resolve()
    for typed, meant in (
        ("vllm:./qwen?a=./b", f"vllm:{here}/qwen?a=./b"),
        ("torch:qwen.gguf", f"torch:{here}/qwen.gguf"),
        ("models/qwen", f"{here}/models/qwen"),
        ("vllm:models/qwen?a=1", f"vllm:{here}/models/qwen?a=1"),
        *((each, each) for each in ("org/qwen", "vllm:org/qwen", "/m/x.gguf", "echo:chunk=2", "torch:")),
        ("sidecar:http://h/v1?model=./x.gguf", "http://h/v1?model=./x.gguf"),
    ):
        assert str(Spec.parse(typed).absolute()) == meant


@pytest.mark.parametrize("find", [resolve, resolve_adapter])
def test_an_empty_spec_is_not_the_folder_that_one_is_in(
    find: Callable[[str], object], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As its path would be."""
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SourceError, match="is empty"):
        find("")


def test_a_hubs_model_without_safetensors_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A repository of GGUF files leaves nothing on this machine, where its folder is called by a commit."""
    monkeypatch.setattr(hub, "fetch", lambda repo, on_bytes: tmp_path / "0123abcd")
    with pytest.raises(SourceError, match=r"^org/gguf holds no \*\.safetensors .* by the path of its file"):
        resolve("org/gguf")
