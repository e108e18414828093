"""Makes responses that nobody waits for, and tells the store of each step."""

import asyncio
import logging
from dataclasses import dataclass
from functools import partial

from inferloom_gateway.calls.call_group import CallGroup
from inferloom_gateway.gateway import Gateway
from inferloom_gateway.http.responses.asking import ask
from inferloom_gateway.http.responses.making import Making
from inferloom_gateway.http.responses.recorder import Recorder
from inferloom_gateway.http.responses.under_way import UnderWay
from inferloom_gateway.http.translate.responses.assembly import Assembly
from inferloom_mesh.errors import InferloomError, Reason, server_error

log = logging.getLogger(__name__)

_CAPACITY = frozenset({Reason.SERVER_OVERLOADED, Reason.NO_WORKER})
"""What passes: a response in background waits for its turn."""

_MOST_PATIENCE_S = 15.0
_STOPPED = InferloomError(Reason.WORKER_LOST, "The gateway was stopped before this response was done.")


class Background:
    """The responses in background that this process makes."""

    def __init__(self, gateway: Gateway, under_way: UnderWay) -> None:
        self._gateway = gateway
        self._under_way = under_way
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._stopping = False

    async def start(self, job: "Job") -> None:
        """Begin one; its call group is the job's from then on.

        Raises:
            InferloomError: It cannot be kept, or too many are under way.
        """
        making = job.making
        await self._under_way.begin(making.sealing.tenant, making.saved(making.begun))
        name = making.begun["id"]
        task = asyncio.create_task(self._make(job), name=name)
        self._tasks[name] = task
        task.add_done_callback(lambda _: self._ended(job))

    def stop(self, name: str) -> None:
        """Give one up at once, if it is this process that makes it; the store knows already."""
        if (task := self._tasks.get(name)) is not None:
            task.cancel()

    def _ended(self, job: "Job") -> None:
        self._tasks.pop(job.making.begun["id"], None)
        job.calls.close(asyncio.CancelledError())  # of a task that was cancelled before it ran

    async def drain(self, patience: float) -> None:
        """Let those that are under way finish for so many seconds, then end the rest as failed."""
        tasks = list(self._tasks.values())
        if not tasks:
            return
        await asyncio.wait(tasks, timeout=patience)
        self._stopping = True
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _make(self, job: "Job") -> None:
        assembly = job.making.assembly()
        recorder = Recorder(self._under_way, job.making, assembly)
        try:
            try:
                await recorder.beside(partial(self._patiently, job, assembly, recorder))
            except asyncio.CancelledError:
                if not self._stopping:
                    return  # the store has its end
                recorder.add(assembly.fail(_STOPPED))
            except InferloomError as failure:
                recorder.add(assembly.fail(failure))
            except Exception:  # a bug ends its own response and nothing else
                log.exception("unexpected failure of a response in background")
                recorder.add(assembly.fail(server_error()))
            await recorder.end(patient=not self._stopping)
        except InferloomError as failure:
            log.warning("what became of a response in background is not kept: %s", failure.message)

    async def _patiently(self, job: "Job", assembly: Assembly, recorder: Recorder) -> None:
        """Make it once a worker has room for it."""
        recorder.add(assembly.begin())
        with job.calls as calls:
            wait = 0.0
            while True:
                try:
                    return await _generate(job, assembly, recorder)
                except InferloomError as failure:
                    wait = min(max(failure.retry_after or 1.0, 2 * wait), _MOST_PATIENCE_S)
                    passes = failure.reason in _CAPACITY and assembly.status == "queued"
                    left = calls.record.context.time_left(self._gateway.clock())
                    if not passes or (left is not None and wait >= left):
                        raise
                calls.anew()
                await asyncio.sleep(wait)


@dataclass(frozen=True, slots=True)
class Job:
    """A response that is asked for in background."""

    making: Making
    calls: CallGroup
    """Asks workers for it, as often as need be. It was let in already, and its deadline is the job's."""


async def _generate(job: Job, assembly: Assembly, recorder: Recorder) -> None:
    stream = await ask(job.making, job.calls, job.calls.generate)
    while (event := await stream.read()) is not None:
        recorder.add(assembly.add(event))
        await recorder.room()
