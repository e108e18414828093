"""The contents of files: a folder, in which every file is either whole or not there."""

import contextlib
import os
import secrets
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Self

from inferloom_gateway.storage.failures import full
from inferloom_gateway.storage.reserve import Reserve

_ABANDONED_S = 6 * 3600.0
"""Age from which on a file that was not completed, or that nobody owns, is removed."""


class Contents:
    """A folder of contents by name. Its methods block: they belong on a thread.

    Args:
        folder: It is made where it is not there.
        spare_bytes: What is left free on its disk at least.

    Raises:
        OSError: The folder cannot be used.
    """

    def __init__(self, folder: Path, spare_bytes: int) -> None:
        self._folder = folder
        self._incoming = folder / "incoming"
        self._spare_bytes = spare_bytes
        self._incoming.mkdir(parents=True, exist_ok=True)
        self.reserve = Reserve(folder / "reserve")

    def check_room(self, size: int = 0) -> None:
        """See to it that so many bytes more fit.

        Raises:
            InferloomError: They do not.
            OSError: The folder cannot be used.
        """
        if shutil.disk_usage(self._folder).free < size + self._spare_bytes:
            raise full()
        if not os.access(self._incoming, os.W_OK):
            raise PermissionError(f"cannot write to {self._incoming}")

    def create(self) -> "Incoming":
        """Begin a file that has no name yet. Raises OSError."""
        return Incoming(self._incoming / secrets.token_hex(16))

    def keep(self, incoming: "Incoming", name: str) -> None:
        """Give a file that is complete and closed its name; from here on it survives a power cut. Raises
        OSError."""
        path = self.path(name)
        path.parent.mkdir(exist_ok=True)
        os.replace(incoming.path, path)
        for folder in (path.parent, self._folder):
            _sync_folder(folder)

    def link(self, name: str, other: str) -> None:
        """Let a content have another name as well, with a life of its own. Raises OSError."""
        path = self.path(other)
        path.parent.mkdir(exist_ok=True)
        try:
            os.utime(self.path(name))  # a new name of an old file is no abandoned one
            os.link(self.path(name), path)
        except OSError:  # not every file system can
            if not self.path(name).exists():
                raise
            with self.create() as copy, self.open(name) as source:
                shutil.copyfileobj(source, copy)
                copy.complete()
                self.keep(copy, other)
        else:
            _sync_folder(path.parent)

    def path(self, name: str) -> Path:
        """Where a name's content is, if it is there."""
        return self._folder / name[-2:] / name

    def open(self, name: str) -> BinaryIO:
        """Open a content for reading. Raises OSError."""
        return self.path(name).open("rb")

    def delete(self, name: str) -> None:
        """Delete a content, if it is there. Raises OSError."""
        self.path(name).unlink(missing_ok=True)

    def abandoned(self) -> Iterator[Path]:
        """Old files that were never completed."""
        limit = time.time() - _ABANDONED_S
        for path in self._incoming.iterdir():
            try:
                if path.stat().st_mtime < limit:
                    yield path
            except FileNotFoundError:  # completed, or removed by another process
                continue

    def names(self) -> Iterator[str]:
        """The names of all contents that are old enough to have an owner."""
        limit = time.time() - _ABANDONED_S
        for folder in self._folder.iterdir():
            if folder == self._incoming or not folder.is_dir():
                continue
            for path in folder.iterdir():
                try:
                    if path.stat().st_mtime < limit:
                        yield path.name
                except FileNotFoundError:
                    continue


class Incoming:
    """A file that is being written. Leaving its block closes it, and removes it unless it was kept."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.size = 0
        self._file = path.open("xb")

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Add bytes. Raises OSError."""
        self._file.write(data)
        self.size += len(data)

    def complete(self) -> None:
        """Let all of it be on disk, and close it. Raises OSError."""
        self._file.flush()
        os.fsync(self._file.fileno())
        self._file.close()

    def discard(self) -> None:
        """Close it, and remove it unless it was kept. Raises OSError if it cannot be removed."""
        try:
            with contextlib.suppress(OSError):  # what it still holds may not fit on the disk
                self._file.close()
        finally:
            self.path.unlink(missing_ok=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.discard()


def _sync_folder(folder: Path) -> None:
    if os.name == "nt":  # folders cannot be opened there
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
