"""The command lines that a plan makes."""

from dataclasses import replace

import pytest

from inferloom_cli.plan import CLI, Plan, as_flags, threads_of_each
from inferloom_mesh.net import Address

PLAN = Plan(
    registry=Address("127.0.0.1", 7000),
    rest=Address("127.0.0.1", 8000),
    grpc=Address("127.0.0.1", 9000),
    workers=(Address("127.0.0.1", 7100), None),
    models={"a": "echo", "b": "echo:tokens=3"},
    adapters=[("x", "a", "./x")],
    aliases=[("gpt-4o", "a")],
)
REGISTRY = ("--registry", "127.0.0.1:7000")
MODELS = ("--model", "a=echo", "--model", "b=echo:tokens=3", "--adapter", "x=a=./x", "--alias", "gpt-4o=a")


def test_a_worker_serves_every_model_of_the_plan() -> None:
    """Each model, adapter and alias is a flag of its own, with the options of its spec untouched."""
    command = PLAN.worker_command("worker-1", PLAN.workers[0], PLAN.registry)
    expected = (*CLI, "worker", "--id", "worker-1", "--listen", "127.0.0.1:7100", *REGISTRY, *MODELS)
    assert expected == command


def test_a_worker_without_an_address_finds_one() -> None:
    """It is not told where to listen."""
    command = PLAN.worker_command("worker-2", PLAN.workers[1], PLAN.registry)
    assert (*CLI, "worker", "--id", "worker-2", *REGISTRY, *MODELS) == command


@pytest.mark.parametrize(("cores", "workers", "each"), [(8, 1, None), (8, 2, 4), (8, 3, 2), (2, 4, 1)])
def test_workers_share_the_machines_cores(cores: int, workers: int, each: int | None) -> None:
    """Several together have no more threads than there are cores, and at least one each."""
    assert threads_of_each(cores, workers) == each


def test_a_worker_is_told_its_share_of_threads() -> None:
    """As a flag, where there is one."""
    command = replace(PLAN, threads=2).worker_command("worker-1", None, PLAN.registry)
    assert (*CLI, "worker", "--id", "worker-1", *REGISTRY, "--threads", "2", *MODELS) == command


def test_what_was_typed_for_a_service_reaches_it() -> None:
    """Each worker and the gateway get their flags, and nothing that was not typed."""
    typed = as_flags({"quantize": "int8", "speculation": None})
    plan = replace(PLAN, worker_flags=typed, gateway_flags=as_flags({"cors": "*"}))
    command = plan.worker_command("worker-1", None, PLAN.registry)
    assert command[command.index("--quantize") + 1] == "int8"
    assert "--speculation" not in command
    assert plan.gateway_command(PLAN.rest, PLAN.grpc, PLAN.registry)[-2:] == ("--cors", "*")


def test_the_gateway_is_told_where_everything_is() -> None:
    """Both of its own addresses, the registry's, and how many processes it is."""
    command = PLAN.gateway_command(PLAN.rest, PLAN.grpc, PLAN.registry)
    listen = ("--listen", "127.0.0.1:8000", "--grpc-listen", "127.0.0.1:9000")
    assert (*CLI, "gateway", *listen, *REGISTRY, "--processes", "1") == command
