"""Workers that come and go while the mesh runs."""

import json
from collections.abc import Callable
from itertools import count

import grpc
import pytest

from inferloom.v1 import inference_pb2 as pb
from inferloom.v1.inference_pb2_grpc import InferenceServiceStub
from tests.mesh.processes import Mesh, Running, inferloom
from tests.patience import PATIENCE_S, until

TTL_S = 4.0
FORGOTTEN_LIMIT_S = 1.5 * TTL_S + 20
"""One and a half TTLs, and what a busy machine needs to tell it."""


def echo(mesh: Mesh, prompts: list[str]) -> list[str]:
    """Send every prompt at once; return which worker answered each."""
    with grpc.insecure_channel(mesh.grpc) as channel:
        stub = InferenceServiceStub(channel)
        stopping = pb.StoppingOptions(max_tokens=4)
        calls = [
            stub.Generate(pb.GenerateRequest(model="echo", text=text, stopping=stopping), timeout=PATIENCE_S)
            for text in prompts
        ]
        return [next(e.started.worker_id for e in list(call) if e.HasField("started")) for call in calls]


def listed(mesh: Mesh) -> set[str]:
    """The workers that `inferloom ps` shows."""
    told = json.loads(inferloom("ps", "--registry", mesh.registry, "--json"))
    return {row["worker"]["id"] for row in told["workers"]}


@pytest.fixture
def mesh(up: Callable[..., Mesh]) -> Mesh:
    """A mesh of one worker whose engine costs nothing, with a short lease."""
    return up("--model", "echo=echo:delay_ms=20", settings={"INFERLOOM_LEASE_TTL_S": str(TTL_S)})


def by_hand(start: Callable[..., Running], mesh: Mesh) -> Running:
    """A second worker, started as an operator would."""
    where = ("--listen", "127.0.0.1:0", "--registry", mesh.registry)
    return start("worker", "--id", "by-hand", "--model", "echo=echo:delay_ms=20", *where)


def test_a_second_worker_joins_and_takes_load(mesh: Mesh, start: Callable[..., Running]) -> None:
    """No restart, no configuration: it names the registry, and its share grows to what is fair."""
    by_hand(start, mesh).report()
    rounds = count()

    def asked() -> list[str]:
        number = next(rounds)  # new prompts: where one was asked before, it stays
        return echo(mesh, [f"round {number}, question {n}" for n in range(24)])

    until(asked, "a first answer", lambda answered: "by-hand" in answered)

    def fair(answered: list[str]) -> bool:
        return min(answered.count("by-hand"), answered.count("worker-1")) >= 4

    until(asked, "a fair share", fair)
    assert listed(mesh) == {"worker-1", "by-hand"}


@pytest.mark.slow
def test_a_killed_worker_gets_no_new_request_and_leaves_the_list(
    mesh: Mesh, start: Callable[..., Running]
) -> None:
    """Not one call fails after the kill, and `ps` forgets the worker within one and a half TTLs."""
    second = by_hand(start, mesh)
    second.report()
    prompts = [str(n) for n in range(24)]
    until(lambda: echo(mesh, prompts), "a first answer", lambda answered: "by-hand" in answered)
    second.process.kill()
    second.process.wait()
    assert {"worker-1"} == set(echo(mesh, [f"after {n}" for n in range(24)]))
    until(lambda: listed(mesh), "leaving the list", lambda names: names == {"worker-1"}, FORGOTTEN_LIMIT_S)


@pytest.mark.slow
def test_a_worker_that_is_stopped_leaves_at_once(mesh: Mesh, start: Callable[..., Running]) -> None:
    """It gives its lease back instead of letting it run out."""
    second = by_hand(start, mesh)
    second.report()
    until(lambda: listed(mesh), "joining", lambda names: names == {"worker-1", "by-hand"})
    second.process.terminate()
    assert second.wait() == 0
    assert listed(mesh) == {"worker-1"}
