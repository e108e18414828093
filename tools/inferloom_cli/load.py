"""``inferloom load``: a model, or an adapter, onto workers that run."""

import asyncio
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass

from inferloom.v1.registry_pb2 import WORKER_STATE_DRAINING, Worker
from inferloom.v1.worker_pb2 import LoadAdapterRequest, LoadModelRequest
from inferloom.v1.worker_pb2_grpc import WorkerServiceStub
from inferloom_cli.calls import calling_worker
from inferloom_cli.choosing_workers import holding, named
from inferloom_cli.credentials import NOTHING, Credentials
from inferloom_cli.refusal import MISUSED, RefusedError
from inferloom_cli.registries import asking
from inferloom_cli.steps import step
from inferloom_cli.terminal import terminal
from inferloom_mesh.net import Address
from inferloom_worker.sourcing.flags import parse_model_flag
from inferloom_worker.sourcing.sources import SourceError
from inferloom_worker.sourcing.spec import SIDECAR, Spec

_DEADLINE_S = 6 * 3600.0
"""A worker may fetch the model first."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is to be loaded."""

    name: str
    """What it is called by then."""
    spec: str
    """What it is made of, as a worker reads it."""
    base: str | None = None
    """The model that it adapts; None: it is a model itself."""

    @classmethod
    def read(cls, typed: str, base: str | None = None) -> "Wanted":
        """Of ``NAME=SPEC``; a model's name may be left out, as where a worker is started with it.

        A relative path counts from here, and is the same one on the worker's machine.

        Raises:
            RefusedError: A part is missing.
        """
        name, found, spec = typed.partition("=")
        try:
            if base is None:
                name, spec = parse_model_flag(typed)
        except SourceError as error:
            raise RefusedError(str(error)[:400], MISUSED) from error
        if base is not None and not (name and found and spec):
            raise RefusedError(f"{typed[:200]!r} is not of the form NAME=SPEC", MISUSED)
        read = Spec.parse(spec) if base is None else Spec(None, spec)  # adapters have no engines
        return cls(name, str(read.absolute()), base)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of it on one worker."""

    worker: str
    loaded: bool
    """Whether it was loaded just now."""
    error: str | None = None
    """Why it was not; None where it was, or was there already."""
    answers: bool = True
    """Whether it can be asked now: a model that a server computes cannot while that is away."""

    def sentence(self, name: str) -> str:
        """For people."""
        if self.error is not None:
            return f"{self.worker}: {self.error}"
        if not self.answers:
            return f"{name} is on {self.worker}, and its server cannot be used yet: the worker's log says why"
        return f"{name} is loaded on {self.worker}" if self.loaded else f"{self.worker} has {name} already"


async def load(
    registries: Sequence[Address],
    wanted: Wanted,
    workers: Sequence[str],
    *,
    as_json: bool,
    shown: Credentials = NOTHING,
) -> None:
    """Load a model on the workers of these names, or on all that take requests; an adapter on those that hold
    its base. ``shown`` says who asks.

    Raises:
        RefusedError: There is no such worker, or one could not load it; what the others did is printed first.
    """
    async with asking(registries, shown) as ask:
        listed = [row.worker for row in (await ask()).workers]
    chosen = named(listed, workers) if wanted.base is None else holding(listed, wanted.base, workers)
    if not workers:
        chosen = [worker for worker in chosen if worker.state != WORKER_STATE_DRAINING]
    if not chosen:
        raise RefusedError("every worker is draining")
    left = f"loading goes on there; `inferloom ps` shows who has {wanted.name}"
    with step(f"loading {wanted.name} on {', '.join(worker.id for worker in chosen)}", left=left):
        outcomes = await asyncio.gather(*(_load(worker, wanted, shown) for worker in chosen))
    failed = [each for each in outcomes if each.error is not None]
    if as_json:
        print(json.dumps([asdict(each) for each in outcomes], indent=2))
    for each in outcomes:
        if not as_json and each not in failed:
            terminal().print(each.sentence(wanted.name), soft_wrap=True)
    if failed:
        raise RefusedError("; ".join(each.sentence(wanted.name) for each in failed))


async def _load(worker: Worker, wanted: Wanted, shown: Credentials) -> Outcome:
    if any(card.id == wanted.name for card in worker.models):
        return Outcome(worker.id, loaded=False)
    try:
        async with calling_worker(worker, shown) as channel:
            stub = WorkerServiceStub(channel)
            if wanted.base is not None:
                adapter = LoadAdapterRequest(model=wanted.base, adapter=wanted.name, spec=wanted.spec)
                await stub.LoadAdapter(adapter, timeout=_DEADLINE_S)
                return Outcome(worker.id, loaded=True)
            request = LoadModelRequest(model=wanted.name, spec=wanted.spec)
            model = (await stub.LoadModel(request, timeout=_DEADLINE_S)).model
    except RefusedError as refusal:
        return Outcome(worker.id, loaded=False, error=str(refusal))
    # What is not known yet can do nothing.
    return Outcome(worker.id, loaded=True, answers=model.engine != SIDECAR or bool(model.tasks))
