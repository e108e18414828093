"""Generate the Python stubs beside the .proto files, or check that they are up to date.

Usage: python tools/dev/protos.py [--check]
"""

import filecmp
import sys
import tempfile
from importlib.resources import files
from pathlib import Path

from grpc_tools import protoc

ROOT = Path(__file__).parents[2] / "protos"


def generate(out: Path) -> None:
    """Write the message, service and type stubs of every proto under ``out``."""
    protos = sorted(str(p.relative_to(ROOT)) for p in ROOT.rglob("*.proto"))
    well_known = str(files("grpc_tools") / "_proto")
    args = [f"--{kind}={out}" for kind in ("python_out", "grpc_python_out", "mypy_out", "mypy_grpc_out")]
    # The plugins live beside this interpreter, which need not be on PATH.
    plugins = [
        f"--plugin={p}={Path(sys.executable).parent / p}" for p in ("protoc-gen-mypy", "protoc-gen-mypy_grpc")
    ]
    status = protoc.main(["protoc", f"-I{ROOT}", f"-I{well_known}", *plugins, *args, *protos])
    if status:
        sys.exit(status)


def stale(fresh: Path) -> list[str]:
    """Name the generated files that differ from the committed ones."""
    made = {p.relative_to(fresh) for p in fresh.rglob("*_pb2*.py*")}
    kept = {p.relative_to(ROOT) for p in ROOT.rglob("*_pb2*.py*") if "__pycache__" not in p.parts}
    differ = {p for p in made & kept if not filecmp.cmp(fresh / p, ROOT / p, shallow=False)}
    return sorted(map(str, (made ^ kept) | differ))


def main() -> None:
    if "--check" not in sys.argv:
        generate(ROOT)
        return
    with tempfile.TemporaryDirectory() as folder:
        generate(Path(folder))
        if names := stale(Path(folder)):
            sys.exit("generated stubs are stale, run `make protos`: " + ", ".join(names))


if __name__ == "__main__":
    main()
