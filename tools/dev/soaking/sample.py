"""What a mesh holds at a moment."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Self

import psutil

from inferloom.v1.worker_pb2 import GetStatusRequest
from inferloom.v1.worker_pb2_grpc import WorkerServiceStub
from inferloom_mesh.channel import open_channel


@dataclass(frozen=True, slots=True)
class ProcessSample:
    """What one process holds."""

    mib: float
    """Resident memory."""
    descriptors: int
    threads: int

    @classmethod
    def of(cls, process: psutil.Process) -> Self:
        """Look at a process."""
        with process.oneshot():
            mib = process.memory_info().rss / 2**20
            return cls(mib, process.num_fds(), process.num_threads())


@dataclass(frozen=True, slots=True)
class Sample:
    """What the mesh holds."""

    processes: Mapping[str, ProcessSample]
    """By the service's name."""
    slots_in_use: int
    waiting: int
    free_kv_tokens: int
    total_kv_tokens: int


async def take(processes: Mapping[str, psutil.Process], workers: Sequence[str]) -> Sample:
    """Look at all processes, and ask the workers.

    Raises:
        psutil.NoSuchProcess: One has ended.
        grpc.aio.AioRpcError: A worker does not answer.
    """
    slots = waiting = free = total = 0
    for address in workers:
        async with open_channel(address) as channel:
            status = await WorkerServiceStub(channel).GetStatus(GetStatusRequest(), timeout=30)
        slots += sum(model.slots_in_use for model in status.models)
        waiting += status.load.waiting
        free += status.load.free_kv_tokens
        total += status.load.total_kv_tokens
    held = {name: ProcessSample.of(process) for name, process in processes.items()}
    return Sample(held, slots, waiting, free, total)


def services(supervisor: int) -> dict[str, psutil.Process]:
    """The processes of a mesh by what they are, from its supervisor's process id."""
    top = psutil.Process(supervisor)
    found = {"supervisor": top}
    for child in top.children():
        kind = child.cmdline()[3:4]  # python -m inferloom_cli KIND …
        found[f"{kind[0] if kind else 'process'} {child.pid}"] = child
    return found
