"""Makes responses that nobody waits for, and tells the store of each step."""

import asyncio
import logging
from functools import partial

from inferloom_gateway.calls.admission import Admission
from inferloom_gateway.calls.call_group import CallGroup, GenerateStream
from inferloom_gateway.gateway import Gateway
from inferloom_gateway.http.responses.asking import ask
from inferloom_gateway.http.responses.making import Making
from inferloom_gateway.http.responses.recorder import Recorder
from inferloom_gateway.http.responses.under_way import UnderWay
from inferloom_gateway.http.translate.responses.assembly import Assembly
from inferloom_mesh.context import CallContext
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

    async def start(self, making: Making, context: CallContext, admission: Admission | None = None) -> None:
        """Begin one.

        Raises:
            InferloomError: It cannot be kept, or too many are under way.
        """
        tenant = making.sealing.tenant
        await self._under_way.begin(tenant, making.saved(making.begun))
        name = making.begun["id"]
        task = asyncio.create_task(self._make(making, context, admission), name=name)
        self._tasks[name] = task
        task.add_done_callback(lambda _: self._tasks.pop(name, None))

    def stop(self, name: str) -> None:
        """Give one up at once, if it is this process that makes it; the store knows already."""
        if (task := self._tasks.get(name)) is not None:
            task.cancel()

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

    async def _make(self, making: Making, context: CallContext, admission: Admission | None) -> None:
        assembly = making.assembly()
        recorder = Recorder(self._under_way, making, assembly)
        try:
            try:
                await recorder.beside(partial(self._generate, making, context, assembly, recorder, admission))
            except asyncio.CancelledError:
                if not self._stopping:
                    return  # the store has its end
                recorder.add(assembly.fail(_STOPPED))
            except InferloomError as failure:
                recorder.add(assembly.fail(failure))
            except Exception:  # a bug ends its own response and nothing else
                log.exception("unexpected failure of a response in background")
                recorder.add(assembly.fail(server_error()))
            await recorder.end()
        except InferloomError as failure:
            log.warning("what became of a response in background is not kept: %s", failure.message)

    async def _generate(
        self,
        making: Making,
        context: CallContext,
        assembly: Assembly,
        recorder: Recorder,
        admission: Admission | None,
    ) -> None:
        recorder.add(assembly.begin())
        calls = self._gateway.dispatcher.group(context, "generate", making.body.model, admission)
        with calls:
            stream = await self._patiently(making, calls)
            while (event := await stream.read()) is not None:
                recorder.add(assembly.add(event))
                await recorder.room()

    async def _patiently(self, making: Making, calls: CallGroup) -> GenerateStream:
        """A stream of the response, once a worker has room for it."""
        deadline = calls.record.context.deadline
        assert deadline is not None
        while True:
            try:
                return await ask(making, calls, calls.generate)
            except InferloomError as failure:
                wait = min(failure.retry_after or 1.0, _MOST_PATIENCE_S)
                if failure.reason not in _CAPACITY or self._gateway.clock() + wait >= deadline:
                    raise
                await asyncio.sleep(wait)
