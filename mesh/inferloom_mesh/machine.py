"""What this machine has to compute with."""

import os


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
