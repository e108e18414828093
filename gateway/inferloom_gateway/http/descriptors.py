"""How many connections a process has descriptors for."""

import resource
from contextlib import suppress

KEPT = 96
"""Descriptors that are kept for everything but clients: workers, the registry, the store, logs and files."""


def bounded(connections: int) -> int:
    """At most so many connections, and no more than leave descriptors for the rest of the process; as many of
    them as the system allows are asked for first. Where connections reach the bound, one more is told so;
    where descriptors run out, it could not be."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = connections + KEPT
    if soft != resource.RLIM_INFINITY and soft < wanted:
        most = wanted if hard == resource.RLIM_INFINITY else min(hard, wanted)
        with suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, most), hard))
        soft = max(soft, most)
    if soft == resource.RLIM_INFINITY:
        return connections
    return max(1, min(connections, soft - min(KEPT, soft // 2)))
