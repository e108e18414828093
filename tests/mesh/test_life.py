"""How a mesh ends, and what it survives."""

import json
import os
import re
import signal
import socket
from collections.abc import Callable
from http.client import HTTPConnection

import psutil
import pytest
from openai import OpenAI

from inferloom_mesh.net import Address
from tests.mesh.conftest import CHAT
from tests.mesh.processes import ANY_PORTS, INFERLOOM, Mesh, Running, run
from tests.patience import PATIENCE_S, until

RESTART_LIMIT_S = 90.0
"""Bounds the wait for a process that imports everything anew; how fast it is, a benchmark says."""


def alive(members: list[psutil.Process]) -> list[psutil.Process]:
    return [m for m in members if m.is_running() and m.status() != psutil.STATUS_ZOMBIE]


def status(mesh: Mesh, model: str) -> int | OSError:
    """What a chat through the gateway gets now."""
    rest = Address.parse(mesh.made["rest"])
    connection = HTTPConnection(rest.host, rest.port, timeout=PATIENCE_S)
    body = {"model": model, "messages": [{"role": "user", "content": "hello"}], "max_tokens": 2}
    try:
        connection.request(
            "POST", "/v1/chat/completions", json.dumps(body), {"content-type": "application/json"}
        )
        return connection.getresponse().status
    except OSError as error:
        return error
    finally:
        connection.close()


def is_ok(seen: int | OSError) -> bool:
    return seen == 200


def returned(said: str) -> bool:
    return "is back after" in said


@pytest.fixture
def mesh(up: Callable[..., Mesh]) -> Mesh:
    """A mesh whose engine costs nothing."""
    return up("--model", "echo=echo:delay_ms=50")


def test_ctrl_c_stops_everything(mesh: Mesh) -> None:
    """A terminal's Ctrl-C: status 130, no process left, every port free, no ready file."""
    members = mesh.family()
    assert len(members) == 3
    os.killpg(mesh.process.pid, signal.SIGINT)
    assert mesh.wait() == 130
    assert alive(members) == []
    for address in (mesh.made["rest"], mesh.grpc, mesh.registry, mesh.worker):
        host, _, port = address.partition(":")
        socket.create_server((host, int(port))).close()
    assert not (mesh.folder / "ready.json").exists()
    assert "Traceback" not in mesh.output


@pytest.mark.slow
def test_a_service_managers_stop_is_a_good_end(mesh: Mesh) -> None:
    """SIGTERM: status 0, no process left."""
    members = mesh.family()
    mesh.signal(signal.SIGTERM)
    assert mesh.wait() == 0
    assert alive(members) == []


def test_running_requests_finish_before_the_mesh_ends(mesh: Mesh) -> None:
    """A stream that began before Ctrl-C is complete."""
    with (
        OpenAI(base_url=mesh.base_url, api_key="none", max_retries=0) as client,
        client.chat.completions.create(
            model="echo", messages=[{"role": "user", "content": "x" * 40}], max_tokens=40, stream=True
        ) as stream,
    ):
        first = next(stream)
        mesh.signal(signal.SIGINT)
        rest = list(stream)
    assert first.choices
    assert rest[-1].choices[0].finish_reason == "length"
    assert mesh.wait() == 130


@pytest.mark.slow
def test_a_second_ctrl_c_does_not_wait(mesh: Mesh) -> None:
    """Even with a request that would run for an hour."""
    with (
        OpenAI(base_url=mesh.base_url, api_key="none", max_retries=0) as client,
        client.chat.completions.create(
            model="echo", messages=[{"role": "user", "content": "x"}], max_tokens=4000, stream=True
        ) as stream,
    ):
        next(stream)
        members = mesh.family()
        mesh.signal(signal.SIGINT)
        until(lambda: mesh.output, "the first Ctrl-C", lambda said: "stopping" in said)
        mesh.signal(signal.SIGINT)
        assert mesh.wait() == 130
    assert alive(members) == []


@pytest.mark.slow
def test_a_killed_supervisor_leaves_no_orphan(mesh: Mesh) -> None:
    """SIGKILL gives it no chance to clean up; its services see its end themselves."""
    members = mesh.family()
    mesh.process.kill()
    mesh.process.wait()
    _, left = psutil.wait_procs(members, timeout=PATIENCE_S)
    assert left == []


def test_ctrl_c_while_starting_leaves_no_orphan(start: Callable[..., Running]) -> None:
    """There is no moment at which stopping does not work."""
    starting: Running = start("up", "--model", "echo=echo", *ANY_PORTS)
    members = until(starting.family, "a first service")
    os.killpg(starting.process.pid, signal.SIGINT)
    assert starting.wait() == 130
    assert alive(members) == []


@pytest.mark.parametrize(
    "service",
    ["worker", *(pytest.param(other, marks=pytest.mark.slow) for other in ("gateway", "registry"))],
)
def test_a_killed_service_comes_back(mesh: Mesh, service: str) -> None:
    """On its old address, so that requests work again with nothing else restarted."""
    before = {name: mesh.service(name).pid for name in ("worker", "gateway", "registry")}
    mesh.service(service).kill()
    until(lambda: mesh.output, f"the return of the {service}", returned, RESTART_LIMIT_S)
    until(lambda: status(mesh, "echo"), "an answer", is_ok)
    after = {name: mesh.service(name).pid for name in before}
    assert [service] == [name for name in before if before[name] != after[name]]
    assert "was ended by SIGKILL" in mesh.output


@pytest.mark.slow
def test_a_ready_file_that_cannot_be_written_again_ends_nothing(mesh: Mesh) -> None:
    """A service came back, and the disk is full by then: the mesh goes on, and says so."""
    (mesh.folder / f".ready.json.{mesh.process.pid}").mkdir()  # where the new one is drafted
    mesh.service("worker").kill()
    words = "cannot write the ready file"
    until(lambda: mesh.output, "the failure", lambda said: words in said, RESTART_LIMIT_S)
    until(lambda: status(mesh, "echo"), "an answer", is_ok)
    assert mesh.process.is_running()


@pytest.mark.slow
def test_a_mesh_without_its_registry_answers(mesh: Mesh) -> None:
    """A registry that is down is a non-event for requests."""
    registry = mesh.service("registry")
    registry.suspend()
    try:
        assert status(mesh, "echo") == 200
    finally:
        registry.resume()


@pytest.mark.slow
def test_a_worker_with_the_real_models_is_back_soon(demo: Mesh) -> None:
    """Killed and restarted: the chat model answers again."""
    demo.service("worker").kill()
    until(lambda: demo.output, "the worker's return", returned, RESTART_LIMIT_S)
    until(lambda: status(demo, CHAT), "an answer", is_ok)
    seconds = re.search(r"worker-1 is back after ([\d.]+) s", demo.output)
    assert seconds is not None


def test_a_model_that_does_not_exist_is_one_line() -> None:
    """Nothing is started for it."""
    done = run(*INFERLOOM, "up", "--model", "x=./missing.gguf", "--port", "0", check=False)
    assert done.returncode != 0
    assert "./missing.gguf does not exist" in done.stderr
    assert "Traceback" not in done.stderr
