"""Install the project into .venv, as `make` does: pinned, quietly, with a line that says how far it is.

Usage: python tools/dev/install.py all|test

Environment:
    GPU=1        take the registry's own PyTorch, which on Linux brings CUDA (several gigabytes)
    TORCH_INDEX  take PyTorch from this index; `none`: from wherever pip looks
"""

import os
import re
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Mapping
from pathlib import Path

ROOT = Path(__file__).parents[2]
VENV = ROOT / ".venv"
PYTHON = VENV / "bin/python"
CPU_INDEX = "https://download.pytorch.org/whl/cpu"
"""PyTorch's own index of wheels without CUDA: 190 MB where the usual registry's brings gigabytes."""

_PHASES = {
    "Installing build dependencies": "fetching what builds the project",
    "Getting requirements": "reading what is needed",
    "Preparing editable metadata": "compiling the kernels",
    "Requirement already satisfied": "looking at what is there",
    "Building editable": "compiling the kernels",
    "Installing collected": "installing the packages",
}
"""Beginnings of pip's lines, and what it is at."""

_PATIENCE_S = 3.0
_OLDEST = (3, 11)


def torch_index(environment: Mapping[str, str], system: str, pip_config: str) -> tuple[str | None, bool]:
    """Where PyTorch should come from besides pip's own places, and whether that was asked for. Pure.

    Without a word from anybody it is :data:`CPU_INDEX` on Linux, where it can be reached. A machine whose pip
    has been told where packages come from is left to that.
    """
    asked = environment.get("TORCH_INDEX", "")
    if asked:
        return (None if asked == "none" else asked), True
    told = any(word in pip_config for word in ("index-url", "find-links", "no-index"))
    told = told or any(
        name in environment for name in ("PIP_INDEX_URL", "PIP_EXTRA_INDEX_URL", "PIP_FIND_LINKS")
    )
    if system != "linux" or told or environment.get("GPU", "0") not in ("", "0"):
        return None, False
    return CPU_INDEX, False


def main() -> None:
    if sys.version_info < _OLDEST:
        sys.exit("Inferloom needs Python 3.11 or newer: make PYTHON=python3.11")
    extra = sys.argv[1]
    if not PYTHON.exists():
        print(f"Making .venv, with Python {sys.version.partition(' ')[0]}", flush=True)
        subprocess.run([sys.executable, "-m", "venv", str(VENV)], check=True)
    index, asked = torch_index(os.environ, sys.platform, _output("config", "list"))
    if index is not None and not asked and not _reachable(index):
        index = None
    places = ["--extra-index-url", index] if index else []
    what = "what running needs" if extra == "all" else "what testing needs, too"
    print(f"Installing {what} into .venv{f', PyTorch from {index}' if index else ''}", flush=True)
    pip = [str(PYTHON), "-m", "pip", "install", "--disable-pip-version-check", *places]
    process = subprocess.Popen(
        [*pip, "-c", "constraints.txt", "-e", f".[{extra}]"],
        cwd=ROOT,
        env={"INFERLOOM_KERNELS": "1", "PIP_ROOT_USER_ACTION": "ignore"} | os.environ,
        stdout=subprocess.PIPE,
        text=True,
        errors="replace",
    )
    sys.exit(_wait(process))


def doing(line: str) -> str | None:
    """What pip is at, by a line of its own; None: the line does not say. Pure."""
    for beginning, meaning in _PHASES.items():
        if line.lstrip().startswith(beginning):
            return meaning
    words = line.split()
    if len(words) < 2:
        return None
    first, second = words[:2]
    if first == "Collecting":
        return f"looking for {re.split('[^A-Za-z0-9._-]', second)[0]}"
    if first == "Downloading":
        size = line.rpartition("(")[2].rstrip(")\n") if line.rstrip().endswith(")") else ""
        return f"fetching {second.rpartition('/')[2].partition('-')[0]}" + (f", {size}" if size else "")
    return None


def _wait(process: "subprocess.Popen[str]") -> int:
    """Show on a terminal what is done and how long all has taken."""
    began, terminal = time.monotonic(), sys.stdout.isatty()
    now = ["starting pip"]

    def listen() -> None:
        for line in process.stdout or ():
            now[0] = doing(line) or now[0]

    threading.Thread(target=listen, daemon=True).start()
    while True:
        try:
            status = process.wait(1.0)
        except subprocess.TimeoutExpired:
            if terminal:
                shown = f"  {time.monotonic() - began:.0f} s, {now[0]}"
                print(f"\r{shown[:78]:78}", end="", flush=True)
        except KeyboardInterrupt:
            process.wait()
            return 130
        else:
            ended = "done" if status == 0 else "failed"
            words = f"  {ended} in {time.monotonic() - began:.0f} s"
            print(f"\r{words:78}" if terminal else words)
            return status


def _output(*args: str) -> str:
    command = [str(PYTHON), "-m", "pip", *args]
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout


def _reachable(url: str) -> bool:
    try:
        with urllib.request.urlopen(f"{url}/", timeout=_PATIENCE_S):
            return True
    except (OSError, urllib.error.URLError, ValueError):
        return False


if __name__ == "__main__":
    main()
