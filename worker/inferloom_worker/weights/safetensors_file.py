"""Opening safetensors files, whose library has an error of its own for what is damaged."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

from safetensors import SafetensorError, safe_open


class DamagedFileError(ValueError):
    """A file of weights cannot be read; the message says why."""


@contextmanager
def open_safetensors(path: Path, framework: Literal["np", "pt"]) -> Iterator[Any]:
    """The open file; tensors come as NumPy's or torch's.

    Raises:
        DamagedFileError: It is cut short, or its header contradicts itself; also from inside the block.
        OSError: It cannot be opened.
    """
    try:
        with safe_open(path, framework) as opened:
            yield opened
    except SafetensorError as damaged:
        raise DamagedFileError(f"{path.name} cannot be read: {damaged}") from damaged
