"""The client in C (``tools/dev/linkload``): it costs so little that what is asked is what is measured."""

import json
import subprocess
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

SOURCES = Path(__file__).parent.parent / "linkload"

_FOLDER = tempfile.TemporaryDirectory(prefix="linkload-")
"""Where the programs are while this process runs."""


@dataclass(frozen=True, slots=True)
class Said:
    """What the client says of its requests."""

    answers: int
    events: int
    """In all, those without text and the end of a stream among them."""
    seconds: float
    own_s: float
    """The client's own processor time."""
    first_p50_ms: float
    first_p99_ms: float
    first_least_ms: float


@cache
def program(name: str) -> Path:
    """One of the programs in C, compiled once in a process.

    Raises:
        subprocess.CalledProcessError: It does not compile.
        FileNotFoundError: There is no compiler.
    """
    made = Path(_FOLDER.name) / name
    subprocess.run(["cc", "-O2", "-o", str(made), str(SOURCES / f"{name}.c")], check=True)
    return made


def ask(
    address: str,
    body: Mapping[str, object],
    clients: int,
    requests: int,
    *,
    kept: bool,
    key: str | None = None,
) -> Said:
    """Ask for chat completions, each connection one after another.

    Args:
        address: ``host:port``, the host as an IPv4 address.
        body: What each request asks for.
        clients: Connections at once.
        requests: In all.
        kept: Whether a connection is used again.
        key: What is shown for a key, if any is needed.

    Raises:
        subprocess.CalledProcessError: An answer was no 200, or broke off.
    """
    host, _, port = address.rpartition(":")
    with tempfile.NamedTemporaryFile("w", suffix=".json") as file:
        json.dump(body, file)
        file.flush()
        words = [host, port, "/v1/chat/completions", file.name, str(clients), str(requests), str(int(kept))]
        command = [str(program("client")), *words, key or "none"]
        made = subprocess.run(command, check=True, stdout=subprocess.PIPE, timeout=300)
    return Said(**json.loads(made.stdout))


def bare_write(connections: int, size: int) -> float:
    """Microseconds that the system takes for a write of ``size`` bytes, one after another to each of so many
    connections."""
    words = [str(program("writes")), str(connections), str(size), "3000"]
    return float(subprocess.run(words, check=True, stdout=subprocess.PIPE, timeout=300).stdout)
