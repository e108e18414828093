"""Files that only their owner may read, which are there as a whole or not at all."""

import os
from pathlib import Path

from inferloom_mesh.tls_reading import TlsError


def write_new(folder: Path, files: dict[str, bytes]) -> None:
    """Write files that were not there before.

    Raises:
        TlsError: One was, or the folder cannot be written.
    """
    for name in files:
        if (folder / name).exists():
            raise TlsError(f"{folder / name}: is there already, and is not overwritten")
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        for name, content in files.items():
            _write(folder / name, content)
    except OSError as failure:
        raise TlsError(f"{folder}: cannot be written: {failure.strerror}") from failure


def replace(folder: Path, files: dict[str, bytes]) -> None:
    """Put files in the place of those that may be there, in this order. Each is on the disk before it can be
    seen.

    Raises:
        TlsError: One cannot be written; it is as it was.
    """
    for name, content in files.items():
        draft = folder / f".{name}.{os.getpid()}"
        try:
            draft.unlink(missing_ok=True)
            _write(draft, content)
            draft.replace(folder / name)
        except OSError as failure:
            raise TlsError(f"{folder / name}: cannot be written: {failure.strerror}") from failure


def _write(file: Path, content: bytes) -> None:
    with os.fdopen(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as writing:
        writing.write(content)
        writing.flush()
        os.fsync(writing.fileno())
