"""The examples in other languages are generated, compiled and run, as their pages say."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.docs.snippets import ROOT
from tests.mesh.processes import BIN, Mesh

pytestmark = pytest.mark.slow

SAID = "user\nHello there"
"""What the echo engine answers: the prompt as its template has it."""


@pytest.fixture(scope="module")
def mesh(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mesh]:
    """One with the echo engine."""
    made = Mesh(tmp_path_factory.mktemp("examples"), "--model", "e=echo")
    yield made
    made.close()


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A copy of what the examples need, with nothing generated in it."""
    for name in ("protos", "examples"):
        ignored = shutil.ignore_patterns("node_modules", "gen", "__pycache__", "build")
        shutil.copytree(ROOT / name, tmp_path / name, ignore=ignored)
    shutil.copy(ROOT / "buf.yaml", tmp_path)
    return tmp_path


def ended(command: list[str], folder: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a command to its end."""
    settings = {**os.environ, **environment}
    return subprocess.run(
        command, cwd=folder, env=settings, capture_output=True, text=True, timeout=240, check=False
    )


def good(command: list[str], folder: Path, **environment: str) -> str:
    """Run a command that must end well."""
    done = ended(command, folder, **environment)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_typescript(project: Path, mesh: Mesh) -> None:
    """By Connect's gRPC transport on Node; a refusal is in the contract's words."""
    example = project / "examples/typescript"
    good(["npm", "install", "--no-audit", "--no-fund"], example)
    good([str(BIN / "buf"), "generate", "--template", f"{example}/buf.gen.yaml", "-o", str(example)], project)
    start = ["npm", "--silent", "start", "--", f"http://{mesh.grpc}"]
    assert SAID in good([*start, "e", "Hello there"], example)
    refused = ended([*start, "nobody", "Hello there"], example)
    assert (refused.returncode, "NotFound: The model 'nobody' does not exist." in refused.stderr) == (1, True)


def test_go(project: Path, mesh: Mesh, tmp_path_factory: pytest.TempPathFactory) -> None:
    """With the system's libraries for Go, which need no module from elsewhere."""
    example, place = project / "examples/go", tmp_path_factory.mktemp("go")
    go = {
        "GO111MODULE": "off",
        "GOPATH": f"{place}:/usr/share/gocode",
        "GOCACHE": str(place / "cache"),
        "GOFLAGS": "",
        "PATH": f"{place}{os.pathsep}{os.environ['PATH']}",
    }
    # The system's own generator is older than its library, and knows no optional fields.
    generator = "google.golang.org/protobuf/cmd/protoc-gen-go"
    good(["go", "build", "-o", str(place / "protoc-gen-go"), generator], place, **go)
    generating = [str(BIN / "buf"), "generate", "--template", f"{example}/buf.gen.yaml", "-o", str(example)]
    good(generating, project, **go)
    (place / "src").mkdir()
    shutil.copytree(example, place / "src/inferloom.example")
    program = str(place / "main")
    good(["go", "build", "-o", program, "."], place / "src/inferloom.example", **go)
    assert SAID in good([program, mesh.grpc, "e", "Hello there"], place)
    refused = ended([program, mesh.grpc, "nobody", "Hello there"], place)
    assert (refused.returncode, "NotFound: The model 'nobody' does not exist." in refused.stderr) == (1, True)
