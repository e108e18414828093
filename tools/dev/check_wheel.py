"""Build the distribution, install it into clean environments, and use it there as its users would.

Three kinds of users: one who wants the typed contract, one who serves without torch, one who wants all.

Usage: python tools/dev/check_wheel.py [contract|base|all …]     (default: contract base)
"""

import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).parents[2]

CONTRACT_ONLY = """
import importlib.metadata, importlib.util
from inferloom.v1 import inference_pb2, registry_pb2, worker_pb2
from inferloom.v1.inference_pb2_grpc import InferenceServiceStub
brought = {d.name.lower() for d in importlib.metadata.distributions()} - {"pip", "setuptools", "inferloom"}
known = {"grpcio", "protobuf", "googleapis-common-protos", "typing-extensions", "typing_extensions"}
assert brought <= known, brought
assert importlib.util.find_spec("numpy") is None
"""

READY_LIMIT_S = 120.0


def main() -> None:
    wanted = sys.argv[1:] or ["contract", "base"]
    with tempfile.TemporaryDirectory(prefix="inferloom-wheel-") as name:
        folder = Path(name)
        wheel = build(folder)
        contract = Environment(folder / "contract", str(wheel))
        contract.python("-c", CONTRACT_ONLY)
        print("ok  the contract imports alone", flush=True)
        for kind, extras in (("base", "registry,gateway,worker"), ("all", "all")):
            if kind in wanted:
                serve(Environment(folder / kind, f"{wheel}[{extras}]"), contract, folder)
                print(f"ok  [{extras}] serves, and the contract alone calls it", flush=True)


def build(folder: Path) -> Path:
    """The wheel as `pip install .` builds it: for any platform, with nothing compiled."""
    environment = {k: v for k, v in os.environ.items() if k != "INFERLOOM_KERNELS"}
    pip = [
        sys.executable,
        "-m",
        "pip",
        "wheel",
        "--quiet",
        "--no-deps",
        "--wheel-dir",
        str(folder),
        str(ROOT),
    ]
    subprocess.run(pip, check=True, env=environment)
    [wheel] = folder.glob("inferloom-*.whl")
    assert wheel.name.endswith("py3-none-any.whl"), wheel.name
    compiled = [name for name in zipfile.ZipFile(wheel).namelist() if name.endswith(".so")]
    assert not compiled, compiled
    print(f"ok  {wheel.name} has nothing compiled in it", flush=True)
    return wheel


class Environment:
    """A clean virtual environment with one thing installed."""

    def __init__(self, folder: Path, requirement: str) -> None:
        self.bin = folder / "bin"
        subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
        self.python("-m", "pip", "install", "--quiet", "-c", str(ROOT / "constraints.txt"), requirement)

    def python(self, *args: str) -> str:
        """Run Python there, outside the project's folder; it must succeed."""
        done = subprocess.run(
            [str(self.bin / "python"), *args], check=False, text=True, capture_output=True, cwd=self.bin
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout


def serve(served: Environment, client: Environment, folder: Path) -> None:
    """Start a mesh in one environment and run the README's gRPC lines in another."""
    with mesh(served, folder) as report:
        snippet = readme_snippet().replace("127.0.0.1:9000", str(report["grpc"]))
        answer = client.python("-c", snippet.replace("smollm2-135m-instruct", "e"))
        assert "capital of France" in answer, answer


@contextmanager
def mesh(served: Environment, folder: Path) -> Iterator[dict[str, object]]:
    """`inferloom up --model e=echo` on free ports, stopped at the end; it must end well."""
    ready = folder / "ready.json"
    ports = [
        part for flag in ("port", "grpc-port", "registry-port", "worker-port") for part in (f"--{flag}", "0")
    ]
    files = ["--ready-file", str(ready), "--log-dir", str(folder / "logs")]
    process = subprocess.Popen(
        [str(served.bin / "inferloom"), "up", "--model", "e=echo", *ports, *files],
        cwd=folder,
    )
    try:
        deadline = time.monotonic() + READY_LIMIT_S
        while not ready.exists():
            assert process.poll() is None, "it ended early"
            assert time.monotonic() < deadline, "it was not ready in time"
            time.sleep(0.1)
        yield json.loads(ready.read_text())
    finally:
        process.send_signal(signal.SIGTERM)
        status = process.wait(60)
    assert status == 0, status


def readme_snippet() -> str:
    """The README's lines for a client of gRPC."""
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    [snippet] = [block for block in blocks if "from inferloom.client import" in block]
    return str(snippet)


if __name__ == "__main__":
    main()
