"""What this machine has to compute with."""

import os
from pathlib import Path


def cores() -> int:
    """Cores that this process may use, at least 1.

    Linux says which ones a process is bound to (by taskset, or a container's cpuset). macOS binds nobody and
    has no such call, so there it is all cores; Python 3.13 and newer answer this by themselves.
    """
    if hasattr(os, "process_cpu_count"):
        return os.process_cpu_count() or 1
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def resident_bytes() -> int:
    """Memory of this process that is in RAM, in bytes; 0 where the system does not say (it is not Linux)."""
    try:
        return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError, IndexError):
        return 0
