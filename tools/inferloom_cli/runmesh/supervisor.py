"""The processes of one mesh under one parent: started together, kept running, drained in order."""

import asyncio
import os
import time
from collections.abc import Callable, Coroutine, Iterable
from functools import partial
from pathlib import Path

from inferloom_cli.display import Display
from inferloom_cli.mesh_report import MeshReport, ModelReport, WorkerReport
from inferloom_cli.plan import Plan
from inferloom_cli.probe import is_ready, reachable, served_models
from inferloom_cli.runmesh.children import Lifeline
from inferloom_cli.runmesh.keeper import GaveUpError, Keeper
from inferloom_cli.runmesh.logs import ServiceLog
from inferloom_cli.runmesh.readiness import Report
from inferloom_mesh.net import Address
from inferloom_mesh.secret import metadata_of

ROUTED_LIMIT_S = 20.0
"""How long the gateway may take to route to workers that are ready."""

_POLL_S = 0.05


class Supervisor:
    """Runs one plan.

    Args:
        plan: What to run.
        folder: Where each service's log file goes.
        display: Shows what happens.
        drain_limit: Seconds that running requests get when the mesh stops.
        on_change: Given the mesh's report when it is ready, and again each time that a service came back.
        began: When the command started, of ``time.monotonic``.
    """

    def __init__(
        self,
        plan: Plan,
        folder: Path,
        display: Display,
        *,
        drain_limit: float,
        on_change: Callable[[MeshReport], None],
        began: float,
    ) -> None:
        self._plan = plan
        self._folder = folder
        self._display = display
        self._drain_limit = drain_limit
        self._on_change = on_change
        self._began = began
        self._seconds: float | None = None
        self._models: tuple[ModelReport, ...] = ()
        self._lifeline = Lifeline()
        self._failure: asyncio.Future[object] = asyncio.get_running_loop().create_future()
        self.registry = self._keeper("registry", self._registry_command)
        self.gateway = self._keeper("gateway", self._gateway_command)
        self.workers = tuple(
            self._keeper(f"worker-{n}", partial(self._worker_command, f"worker-{n}", listen))
            for n, listen in enumerate(plan.workers, start=1)
        )

    async def run(self, stop: asyncio.Event) -> None:
        """Run the mesh until ``stop`` is set, then drain it.

        Raises:
            GaveUpError: A service cannot be kept running; the others have been stopped.
        """
        try:
            if await self._unless_stopped(stop, self._start()):
                self._seconds = time.monotonic() - self._began
                report = self.report()
                self._display.ready(report)
                self._on_change(report)
                await self._unless_stopped(stop, asyncio.Event().wait())
        finally:
            await self._drain()

    def kill(self) -> None:
        """End every service at once."""
        for keeper in self._keepers():
            keeper.kill()

    def report(self) -> MeshReport:
        """The mesh as it is; every service must have been ready once."""
        assert self.gateway.report
        assert self.registry.report
        return MeshReport(
            pid=os.getpid(),
            rest=str(self.gateway.report["rest"]),
            grpc=str(self.gateway.report["grpc"]),
            registry=str(self.registry.report["address"]),
            workers=tuple(
                WorkerReport(keeper.name, str(keeper.report["address"]), keeper.pid)
                for keeper in self.workers
                if keeper.report
            ),
            models=self._models,
            logs=str(self._folder),
            seconds=round(self._seconds or 0.0, 2),
        )

    async def _start(self) -> None:
        # Workers take longest, so they go first, unless the others' port is only known once it is bound.
        others = [*self.workers, self.gateway]
        self._display.starting([keeper.name for keeper in (self.registry, *others)])
        if self._plan.registry.port:
            self._launch([*others, self.registry])
        else:
            self._launch([self.registry])
            await self.registry.was_ready.wait()
            self._launch(others)
        await asyncio.gather(*(keeper.was_ready.wait() for keeper in self._keepers()))
        assert self.gateway.report
        self._models = await self._until_routed(Address.parse(str(self.gateway.report["rest"])))

    def _launch(self, keepers: Iterable[Keeper]) -> None:
        for keeper in keepers:
            keeper.start(self._lifeline).add_done_callback(self._ended)

    async def _until_routed(self, rest: Address) -> tuple[ModelReport, ...]:
        wanted, doors = set(self._plan.models), (self._plan.door, self._plan.caller)
        deadline = time.monotonic() + ROUTED_LIMIT_S
        while True:
            shown = metadata_of(self._plan.secret)
            served = await asyncio.to_thread(served_models, reachable(rest), shown, *doors)
            missing = wanted - {model.id for model in served}
            if not missing and await asyncio.to_thread(is_ready, reachable(rest), *doors):
                return served
            if time.monotonic() > deadline:
                why = (
                    f"does not route to {', '.join(sorted(missing))}" if missing else "does not become ready"
                )
                raise GaveUpError("gateway", why, self.gateway.log.tail)
            await asyncio.sleep(_POLL_S)

    async def _unless_stopped(self, stop: asyncio.Event, aim: Coroutine[None, None, object]) -> bool:
        """Whether ``aim`` came before ``stop``. A service that is given up ends the wait with its error."""
        wanted: asyncio.Future[object] = asyncio.ensure_future(aim)
        stopped: asyncio.Future[object] = asyncio.ensure_future(stop.wait())
        try:
            await asyncio.wait({wanted, stopped, self._failure}, return_when=asyncio.FIRST_COMPLETED)
            if self._failure.done():
                self._failure.result()
            if wanted.done():
                wanted.result()
            return not stopped.done()
        finally:
            wanted.cancel()
            stopped.cancel()
            await asyncio.gather(wanted, stopped, return_exceptions=True)

    def _ended(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled() and (failure := task.exception()) and not self._failure.done():
            self._failure.set_exception(failure)

    async def _drain(self) -> None:
        """Stop what takes requests, then what answers them, then what they find each other by."""
        self._failure.cancel()  # what fails from here on was asked to end
        self._display.stopping()
        deadline = time.monotonic() + self._drain_limit
        for group in ([self.gateway], self.workers, [self.registry]):
            limit = max(deadline - time.monotonic(), 1.0)
            await asyncio.gather(*(keeper.stop(limit) for keeper in group))
        self._lifeline.close()
        for keeper in self._keepers():
            keeper.log.close()
        self._display.stopped()

    def _keepers(self) -> tuple[Keeper, ...]:
        return (self.gateway, *self.workers, self.registry)

    def _keeper(self, name: str, command: Callable[[Report | None], Iterable[str]]) -> Keeper:
        return Keeper(
            name,
            lambda report: tuple(command(report)),
            ServiceLog(self._folder, name, self._display.news),
            self._display.line,
            self._display.news,
            partial(self._on_ready, name),
            self._plan.environment_of(name),
        )

    def _on_ready(self, name: str) -> None:
        if self._seconds is not None:
            self._on_change(self.report())
        else:
            self._display.service_ready(name, time.monotonic() - self._began)

    # A service that comes back takes the address that it had, because others know it by that.

    def _registry_command(self, report: Report | None) -> Iterable[str]:
        return self._plan.registry_command(_address(report, "address") or self._plan.registry)

    def _gateway_command(self, report: Report | None) -> Iterable[str]:
        rest = _address(report, "rest") or self._plan.rest
        grpc = _address(report, "grpc") or self._plan.grpc
        return self._plan.gateway_command(rest, grpc, self._registry_address())

    def _worker_command(self, name: str, listen: Address | None, report: Report | None) -> Iterable[str]:
        where = _address(report, "address") or listen
        return self._plan.worker_command(name, where, self._registry_address())

    def _registry_address(self) -> Address:
        return reachable(_address(self.registry.report, "address") or self._plan.registry)


def _address(report: Report | None, name: str) -> Address | None:
    """The address that a service said it listens on; None while it has said nothing."""
    return None if report is None else Address.parse(str(report[name]))
