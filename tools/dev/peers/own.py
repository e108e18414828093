"""Inferloom itself, as one side of a comparison."""

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from urllib.request import Request, urlopen

from peers.process import check, process
from peers.sides import Place, Running, Side, Wants
from peers.weights import CHAT_MODEL, EMBEDDING_MODEL, weights

_FREE_PORTS = [part for name in ("", "grpc-", "registry-", "worker-") for part in (f"--{name}port", "0")]
_START_LIMIT_S = 120.0
_POLL_S = 0.05


def inferloom(format_: str) -> Side:
    """`inferloom up` with the chat model in a format, with the embedding model, or with `echo` as a proxy.

    A proxy has keys on, as one in use has.
    """

    @contextmanager
    def start(place: Place, wants: Wants) -> Iterator[Running]:
        if wants.task == "proxy":
            model, spec = "echo", "echo:chunk=1"
        elif wants.task == "embed":
            model = spec = EMBEDDING_MODEL
        else:
            model = CHAT_MODEL
            # The file as it comes needs no tools of a peer.
            spec = model if format_ == "q4_1" else str(weights(format_, place.cache, place.llama))
        flags = ["--model", f"{model}={spec}"]
        at_once = key = None
        with TemporaryDirectory() as folder:
            if wants.task == "proxy":
                at_once, key = "echo-at-once", create_key(Path(folder))
                flags += ["--model", f"{at_once}=echo", "--keys", str(keys_file(Path(folder)))]
            with mesh(place.logs / "inferloom.log", *flags) as (report, seconds):
                url = f"http://{report['rest']}/v1"
                computes = _weights(url, model, key)
                yield Running(url, model, seconds, computes, at_once=at_once, key=key)

    return start


def keys_file(folder: Path) -> Path:
    """Where :func:`create_key` keeps what a mesh knows of keys."""
    return folder / "keys.db"


def create_key(folder: Path) -> str:
    """A new key, for a mesh that is started with ``--keys`` and :func:`keys_file`."""
    command = [sys.executable, "-m", "inferloom_cli", "keys", "create", "--keys", str(keys_file(folder))]
    made = subprocess.run(command, check=True, capture_output=True, text=True, cwd=folder)
    return made.stdout.strip()


def _weights(url: str, model: str, key: str | None) -> str:
    """What the mesh says that it computes a model with."""
    asked = Request(f"{url}/models/{model}", headers={"authorization": f"Bearer {key}"} if key else {})
    with urlopen(asked, timeout=10) as answer:
        card = json.load(answer)
    if card["dtype"] == "none":
        return "no model"
    return f"{card['quantization'] or 'safetensors'} in {card['dtype']}"


@contextmanager
def mesh(log: Path, *flags: str, **settings: str) -> Iterator[tuple[dict[str, Any], float]]:
    """Run a mesh on free ports, with settings as environment variables.

    Yields:
        What its ready file says, and the seconds from start to ready.
    """
    with TemporaryDirectory() as folder:
        ready = Path(folder) / "ready.json"
        command = [sys.executable, "-m", "inferloom_cli", "up", *_FREE_PORTS, *flags]
        command += ["--ready-file", str(ready), "--log-dir", str(Path(folder) / "logs")]
        # Not in this folder, where a developer may have a settings file.
        with process(command, log, settings, cwd=Path(folder)) as child:
            began = time.monotonic()
            while not ready.exists():
                check(child, log, began + _START_LIMIT_S)
                time.sleep(_POLL_S)
            yield json.loads(ready.read_text()), time.monotonic() - began
