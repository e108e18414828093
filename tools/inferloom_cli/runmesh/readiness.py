"""How a process says that it is ready: to its supervisor through a pipe, to a script through a file."""

import json
import os
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

READY_VARIABLE = "INFERLOOM_READY_FD"
"""Environment variable with the descriptor of a pipe that takes one JSON line when the process is ready."""

Report = Mapping[str, object]
"""What a process says of itself: JSON values by name, such as the addresses it listens on."""


def announce(report: Report, file: Path | None) -> None:
    """Say once that this process is ready, to whoever wants to know."""
    descriptor = os.environ.pop(READY_VARIABLE, None)
    # The supervisor may be gone; then the lifeline ends this process, and not a broken pipe.
    with suppress(OSError):
        if descriptor is not None:
            with os.fdopen(int(descriptor), "w") as pipe:
                pipe.write(json.dumps(report) + "\n")
    if file is not None:
        write_atomically(file, json.dumps(report) + "\n")


def write_atomically(file: Path, text: str) -> None:
    """Write a file so that a reader sees all of it or none."""
    draft = file.with_name(f".{file.name}.{os.getpid()}")
    draft.write_text(text)
    draft.replace(file)
