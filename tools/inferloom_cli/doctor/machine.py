"""What a machine has to run a mesh with, measured and judged."""

import os
import resource
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import psutil

from inferloom_cli.doctor.finding import Finding, Level
from inferloom_mesh.machine import cores

AREA = "machine"
GIB = 2**30
LEAST_MEMORY = 2 * GIB
LEAST_DISK = 2 * GIB
LEAST_FILES = 4096
"""A gateway has a file for each connection, and each worker some."""

_CGROUP = Path("/sys/fs/cgroup/memory.max")
_PROXIES = ("http_proxy", "HTTP_PROXY", "https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY")


@dataclass(frozen=True, slots=True)
class MachineFacts:
    """What was measured; sizes in bytes."""

    cores: int
    memory: int
    free_memory: int
    memory_limit: int | None
    """Of the container. None: there is none."""
    open_files: int
    """How many files a process may have open."""
    disks: Mapping[Path, int | None]
    """What is free for each folder that is written to; None: it cannot be written to."""
    proxy: str = ""
    """The variable that names a proxy for all addresses, this machine's too; empty: none does."""


def measure(folders: Mapping[str, Path]) -> MachineFacts:
    """Look at this machine; ``folders`` are those that the services write to."""
    memory = psutil.virtual_memory()
    return MachineFacts(
        cores=cores(),
        memory=memory.total,
        free_memory=memory.available,
        memory_limit=_memory_limit(),
        open_files=resource.getrlimit(resource.RLIMIT_NOFILE)[0],
        disks={folder: _free(folder) for folder in folders.values()},
        proxy=_proxy(os.environ),
    )


def judge(facts: MachineFacts) -> Iterator[Finding]:
    """What a machine of these facts is good for. Pure."""
    memory = min(facts.memory, facts.memory_limit or facts.memory)
    limited = f", of which this container may use {_size(memory)}" if memory < facts.memory else ""
    yield Finding(AREA, Level.OK, f"{facts.cores} cores, {_size(facts.memory)} of memory{limited}")
    if (free := min(facts.free_memory, memory)) < LEAST_MEMORY:
        what = f"{_size(free)} of memory is free; a worker wants 1 GiB beside its model"
        yield Finding(
            AREA, Level.WARNING, what, "end other programs, or take a smaller model or --quantize int8"
        )
    if facts.open_files < LEAST_FILES:
        what = f"a process may have {facts.open_files} files open, and a gateway has one for each connection"
        yield Finding(AREA, Level.WARNING, what, f"ulimit -n {2**16}, or LimitNOFILE= in a systemd unit")
    for folder, room in facts.disks.items():
        if room is None:
            what = f"{folder} cannot be written to"
            yield Finding(
                AREA,
                Level.FAULT,
                what,
                "give this user the folder, or name another: INFERLOOM_CACHE_DIR, INFERLOOM_STORE",
            )
        elif room < LEAST_DISK:
            yield Finding(
                AREA, Level.WARNING, f"{_size(room)} is free for {folder}", "make room on that disk"
            )
    if facts.proxy:
        what = f"{facts.proxy} sends clients' calls to this machine through a proxy, which cannot reach it"
        yield Finding(AREA, Level.WARNING, what, "export NO_PROXY=127.0.0.1,localhost")


def _memory_limit() -> int | None:
    try:
        text = _CGROUP.read_text().strip()
    except OSError:
        return None
    return int(text) if text.isdigit() else None


def _free(folder: Path) -> int | None:
    """What is free where the folder is, or will be."""
    there = next((each for each in (folder, *folder.parents) if each.is_dir()), None)
    if there is None or not os.access(there, os.W_OK | os.X_OK):
        return None
    return shutil.disk_usage(there).free


def _proxy(environment: Mapping[str, str]) -> str:
    exempt = environment.get("no_proxy", environment.get("NO_PROXY", ""))
    if {"127.0.0.1", "*"} & {part.strip() for part in exempt.split(",")}:
        return ""
    return next((name for name in _PROXIES if environment.get(name)), "")


def _size(count: int) -> str:
    return f"{count / GIB:.1f} GiB" if count >= GIB else f"{count / 2**20:.0f} MiB"
