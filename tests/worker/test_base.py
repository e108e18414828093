"""What a worker does without the libraries of its optional engines."""

import subprocess
import sys
from pathlib import Path

import pytest

WITHOUT = """
import sys

class Missing:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {"torch", "transformers", "sentence_transformers", "accelerate"}:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Missing())
"""


def without_engines(script: str, *args: str) -> str:
    """Run ``script`` where torch and all that stands on it cannot be imported; return what it prints."""
    command = [sys.executable, "-c", WITHOUT + script, *args]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_the_base_imports_without_torch_and_transformers() -> None:
    """Every module but those of the engines that need them."""
    script = """
import importlib, pkgutil, inferloom_worker
rooms = ("rpc", "hosting", "joining", "output", "text", "validate", "engine", "sourcing", "service")
for module in pkgutil.walk_packages(inferloom_worker.__path__, "inferloom_worker."):
    if module.name.split(".")[1] in rooms:
        importlib.import_module(module.name)
        print(module.name)
"""
    assert "inferloom_worker.rpc.servicer" in without_engines(script).splitlines()


def test_a_chat_is_answered_without_them() -> None:
    """The echo engine, with its template rendered in our own sandbox."""
    script = """
from inferloom_worker.hosting.load_options import LoadOptions
from inferloom_worker.hosting.model_loading import load_model

served = load_model("e", "echo", LoadOptions())
print(served.template.render([{"role": "user", "content": "Hello"}]))
"""
    assert "Hello" in without_engines(script)


def test_a_model_that_needs_them_names_the_extra(smollm_file: Path, tmp_path: Path) -> None:
    """In one sentence with what to type: a language model, and an embedding model of another kind."""
    script = """
import sys
from inferloom_worker.hosting.load_options import LoadOptions
from inferloom_worker.hosting.model_loading import load_model
from inferloom_worker.sourcing.sources import SourceError

try:
    load_model("m", sys.argv[1], LoadOptions())
except SourceError as refusal:
    print(refusal)
"""
    (tmp_path / "model.safetensors").write_bytes((2).to_bytes(8, "little") + b"{}")
    (tmp_path / "modules.json").write_text("[]")
    (tmp_path / "config.json").write_text('{"model_type": "mpnet", "architectures": ["MPNetModel"]}')
    for path, extra in ((smollm_file, "torch"), (tmp_path, "sentence-transformers")):
        [sentence] = without_engines(script, str(path)).splitlines()
        assert sentence.endswith(
            f"torch is not installed: pip install '.[{extra}]' in Inferloom's folder installs it"
        )


def test_kernels_that_were_not_shipped_are_compiled_once_into_the_cache(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The one that this processor runs, told in a sentence; a second worker finds it."""
    from inferloom_worker.kernels import build, kept

    monkeypatch.setattr(build, "FOLDER", tmp_path)
    monkeypatch.setattr(build, "library_path", lambda variant, folder=tmp_path: folder / f"{variant}.so")
    monkeypatch.setenv("INFERLOOM_CACHE_DIR", str(tmp_path / "cache"))
    compiled: list[tuple[str, ...]] = []

    def compile_(folder: Path, variants: tuple[str, ...]) -> None:
        compiled.append(variants)
        for variant in variants:
            (folder / f"{variant}.so").touch()

    monkeypatch.setattr(build, "build", compile_)
    monkeypatch.setattr(build, "require_known_machine", lambda: None)
    monkeypatch.setattr("inferloom_worker.kernels.library.suits", lambda variant: variant == "avx2")
    kept._folder.cache_clear()
    said: list[str] = []
    try:
        kept.ensure(said.append)
        kept.ensure(said.append)
        assert kept.library_path("avx2").is_relative_to(tmp_path / "cache" / "kernels")
    finally:
        kept._folder.cache_clear()

    assert compiled == [("avx2",)]
    assert len(said) == 1
    assert "once" in said[0]


def test_a_cache_that_cannot_be_written_leaves_models_to_torch(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One sentence, and the worker goes on."""
    from inferloom_worker.kernels import build, kept

    (tmp_path / "file").touch()
    monkeypatch.setattr(build, "library_path", lambda variant, folder=tmp_path: folder / f"{variant}.so")
    monkeypatch.setenv("INFERLOOM_CACHE_DIR", str(tmp_path / "file" / "cache"))
    monkeypatch.setattr(build, "require_known_machine", lambda: None)
    monkeypatch.setattr("inferloom_worker.kernels.library.suits", lambda variant: True)
    kept._folder.cache_clear()
    said: list[str] = []
    try:
        kept.ensure(said.append)
    finally:
        kept._folder.cache_clear()

    assert len(said) == 1
    assert "run on torch" in said[0]
    assert "INFERLOOM_CACHE_DIR" in said[0]
