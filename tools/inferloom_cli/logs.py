"""``inferloom logs``: what the services of the last ``inferloom up`` have written, by time."""

import os
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from io import TextIOBase
from pathlib import Path

from inferloom_cli.log_lines import Entry, entries, merged, since
from inferloom_cli.refusal import MISUSED, RefusedError
from inferloom_cli.runmesh.logs import log_root
from inferloom_cli.terminal import harmless

_POLL_S = 0.2
_SUFFIX = ".log"


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is shown: of which services (none: all), of which request, and from when on."""

    services: Sequence[str]
    request_id: str | None
    since: float

    def shows(self, entry: Entry) -> bool:
        """Whether an entry is shown."""
        if entry.moment < self.since:
            return False
        return self.request_id is None or entry.of_request(self.request_id)


def show(
    log_dir: Path | None, services: Sequence[str], request_id: str | None, after: str | None, *, follow: bool
) -> None:
    """Print what is wanted; with ``follow``, go on until interrupted.

    Raises:
        RefusedError: There are no logs, no such service, or no line of the request.
    """
    try:
        begin = float("-inf") if after is None else since(after, datetime.now())
    except ValueError as wrong:
        raise RefusedError(f"--since: {wrong}", MISUSED) from None
    folder = log_dir or _last_run()
    files = _files(folder)
    if not files:
        raise RefusedError(f"there are no logs in {folder}; `inferloom up` writes them")
    if strange := [name for name in services if name not in files]:
        raise RefusedError(
            f"there is no log of {strange[0]} in {folder}; there are {', '.join(files)}", MISUSED
        )
    wanted = Wanted(services, request_id, begin)
    try:
        _run(folder, files, wanted, follow=follow)
    except BrokenPipeError:  # `| head` has read enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _run(folder: Path, files: dict[str, Path], wanted: Wanted, *, follow: bool) -> None:
    services = wanted.services
    tails = {name: _Tail(name, file) for name, file in files.items() if not services or name in services}
    found = _print(merged(tail.read() for tail in tails.values()), wanted, files)
    if not follow:
        if wanted.request_id is not None and not found:
            raise RefusedError(f"no line of the request {wanted.request_id} in {folder}")
        return
    while True:
        time.sleep(_POLL_S)
        for name, file in _files(folder).items():  # a service may come later
            if name not in tails and (not services or name in services):
                tails[name] = _Tail(name, file)
        _print(merged(tail.read() for tail in tails.values()), wanted, tails)


def _last_run() -> Path:
    root = log_root()
    runs = sorted(folder for folder in root.iterdir() if any(folder.glob("*.log"))) if root.is_dir() else []
    if not runs:
        raise RefusedError(
            f"there are no logs in {root}; `inferloom up` writes them, or --log-dir names a folder"
        )
    return runs[-1]


def _files(folder: Path) -> dict[str, Path]:
    """The log of each service that has one, in order of name."""
    return {file.name.removesuffix(_SUFFIX): file for file in sorted(folder.glob(f"*{_SUFFIX}"))}


def _print(found: Iterable[Entry], wanted: Wanted, names: Iterable[str]) -> int:
    width, count = max(map(len, names)), 0
    told = harmless if sys.stdout.isatty() else str
    for entry in found:
        if wanted.shows(entry):
            count += 1
            for line in entry.shown(width):
                print(told(line))
    sys.stdout.flush()
    return count


class _Tail:
    """One service's log, read on from where it was read last; also past the end of a file that is full."""

    def __init__(self, service: str, file: Path) -> None:
        self._service = service
        self._path = file
        self._open: TextIOBase | None = None
        self._inode = 0
        self._rest = ""
        self._moment = float("-inf")

    def read(self) -> Iterator[Entry]:
        """What is new. A line that is not complete is left for later."""
        for entry in entries(self._service, self._lines(), self._moment):
            self._moment = entry.moment
            yield entry

    def _lines(self) -> Iterator[str]:
        if self._open is None:
            older = self._path.with_name(self._path.name + ".1")
            if older.is_file():
                with older.open(encoding="utf-8", errors="replace") as lines:
                    yield from (line.rstrip("\n") for line in lines)
            self._begin()
        yield from self._complete()
        try:
            inode = self._path.stat().st_ino
        except FileNotFoundError:  # between two files
            return
        if inode != self._inode:
            self._begin()
            yield from self._complete()

    def _begin(self) -> None:
        if self._open is not None:
            self._open.close()
        self._open = self._path.open(encoding="utf-8", errors="replace")
        self._inode = self._path.stat().st_ino

    def _complete(self) -> Iterator[str]:
        assert self._open is not None
        for line in self._open:
            line, self._rest = self._rest + line, ""
            if line.endswith("\n"):
                yield line[:-1]
            else:
                self._rest = line
