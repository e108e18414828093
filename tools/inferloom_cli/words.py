"""The contract's values in words for a table. Pure."""

from collections.abc import Sequence
from typing import Any

from google.protobuf.duration_pb2 import Duration
from rich.text import Text

from inferloom.v1.inference_pb2 import Task
from inferloom.v1.registry_pb2 import LeaseState, WorkerState
from inferloom_mesh import durations


def state(value: WorkerState.ValueType) -> str:
    """``ready`` for WORKER_STATE_READY."""
    return _word(WorkerState, value, "WORKER_STATE_")


def lease(value: LeaseState.ValueType) -> str:
    """``active`` for LEASE_STATE_ACTIVE."""
    return _word(LeaseState, value, "LEASE_STATE_")


def task(value: Task.ValueType) -> str:
    """``chat`` for TASK_CHAT."""
    return _word(Task, value, "TASK_")


def _word(kind: Any, value: int, prefix: str) -> str:
    """Its name; its number where a newer version has given it one."""
    name = kind.Name(value).removeprefix(prefix) if value in kind.values() else f"{prefix}{value}"
    return str(name).lower()


def seconds(duration: Duration) -> str:
    """``1.2s``."""
    return f"{durations.seconds(duration):.1f}s"


def count(number: float) -> str:
    """A number in at most four digits: ``812``, ``8.1k``, ``2.0M``."""
    for size, unit in ((1e6, "M"), (1e3, "k")):
        if number >= size:
            return f"{number / size:.1f}{unit}"
    return f"{number:.0f}"


def workers(compute_hashes: Sequence[str]) -> Text:
    """How many workers hold a model, and whether they compute differently: ``3``, ``3, 2 kinds!``."""
    kinds = len(set(compute_hashes) - {""})
    told = Text(f"{len(compute_hashes)}")
    return told.append(", ").append(f"{kinds} kinds!", "yellow") if kinds > 1 else told
