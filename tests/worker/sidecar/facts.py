"""Servers that are not there, as a look would have found them."""

from typing import Any

from inferloom_worker.engines.sidecar.facts import Facts
from inferloom_worker.engines.sidecar.kinds import ServerKind


def facts_of(kind: ServerKind, **more: Any) -> Facts:
    """A server of a kind that chats and completes."""
    tasks = frozenset({"chat", "completion"})
    return Facts(kind=kind, version="", model="m", tasks=tasks, context_length=4096, **more)
