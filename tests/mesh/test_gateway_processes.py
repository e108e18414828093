"""A gateway that is several processes."""

import json
import os
import signal
from collections.abc import Callable
from http.client import HTTPConnection

import grpc
import psutil
import pytest

from inferloom.v1.inference_pb2 import ListModelsRequest
from inferloom.v1.inference_pb2_grpc import InferenceServiceStub
from inferloom_mesh.net import Address
from tests.mesh.processes import INFERLOOM, Mesh, Running, grpcurl, run
from tests.patience import PATIENCE_S, until


@pytest.fixture
def mesh(up: Callable[..., Mesh]) -> Mesh:
    """A mesh with two gateway processes."""
    return up("--model", "echo=echo", "--gateway-processes", "2")


def processes(mesh: Mesh) -> list[psutil.Process]:
    """Those that take requests: the children of the one that `up` started."""
    return mesh.service("gateway").children()


def answered(address: str, times: int) -> int:
    """How many of so many requests, each on a connection of its own, find a model."""
    host, port = Address.parse(address)
    good = 0
    for _ in range(times):
        connection = HTTPConnection(host, port, timeout=PATIENCE_S)
        try:
            connection.request("GET", "/v1/models/echo")
            good += connection.getresponse().status == 200
        except OSError:
            pass
        finally:
            connection.close()
    return good


def listens(process: psutil.Process, address: str) -> bool:
    """Whether a process itself takes connections at an address."""
    port = Address.parse(address).port
    return any(c.status == psutil.CONN_LISTEN and c.laddr.port == port for c in process.net_connections())


def test_each_process_takes_requests_on_both_ports(mesh: Mesh) -> None:
    """REST and gRPC answer on every connection, whichever process it went to."""
    first, second = processes(mesh)
    for process in (first, second):
        assert listens(process, mesh.made["rest"])
        assert listens(process, mesh.grpc)
    assert answered(mesh.made["rest"], 32) == 32
    for number in range(8):
        options = [("grpc.use_local_subchannel_pool", 1), ("number", number)]  # no shared connection
        with grpc.insecure_channel(mesh.grpc, options=options) as channel:
            listed = InferenceServiceStub(channel).ListModels(ListModelsRequest(), timeout=PATIENCE_S)
        assert [model.id for model in listed.models] == ["echo"]


@pytest.mark.slow
def test_any_process_tells_of_all(mesh: Mesh) -> None:
    """Of one gateway, by its name, with what all of them did together."""
    assert answered(mesh.made["rest"], 1) == 1
    run(*INFERLOOM, "chat", "--gateway", mesh.grpc, "echo", "--message", "hello")
    told = grpcurl(mesh.grpc, "inferloom.v1.GatewayService/GetMesh")
    seen = json.loads(told)["mesh"]
    assert {each["pid"] for each in seen["processes"]} == {process.pid for process in processes(mesh)}
    assert len({each["gateway"] for each in seen["processes"]}) == 1
    assert sum(int(each["totals"].get("requests", 0)) for each in seen["processes"]) == 1
    assert seen["activity"]["total"]["count"] == 1
    listed = json.loads(grpcurl(mesh.grpc, "inferloom.v1.GatewayService/ListRequests"))["requests"]
    assert [each["method"] for each in listed] == ["generate"]


@pytest.mark.slow
def test_a_killed_process_comes_back_while_the_other_answers(mesh: Mesh) -> None:
    """Its parent starts it again on the same ports; nothing else is restarted."""
    parent, (first, second) = mesh.service("gateway"), processes(mesh)
    first.kill()
    first.wait()
    until(lambda: answered(mesh.made["rest"], 4), "answers from the other", lambda good: good == 4)
    both = until(lambda: processes(mesh), "a new process", lambda found: len(found) == 2)
    new = next(p for p in both if p != second)
    until(lambda: listens(new, mesh.made["rest"]), "its return")
    until(lambda: answered(mesh.made["rest"], 16), "answers from both", lambda good: good == 16)
    assert mesh.service("gateway") == parent


@pytest.mark.slow
@pytest.mark.parametrize(("number", "status"), [(signal.SIGTERM, 0), (signal.SIGINT, 130)])
def test_a_signal_stops_all_of_them(mesh: Mesh, number: signal.Signals, status: int) -> None:
    """The mesh drains, and no process is left."""
    members = mesh.family()
    assert len(members) == 5
    os.killpg(mesh.process.pid, number)
    assert mesh.wait() == status
    assert [m for m in members if m.is_running()] == []
    assert "Traceback" not in mesh.output


@pytest.mark.slow
def test_they_end_with_their_parent(mesh: Mesh) -> None:
    """A parent that is killed takes them along; `up` starts a new one with two more."""
    parent, old = mesh.service("gateway"), processes(mesh)
    parent.kill()
    psutil.wait_procs(old, timeout=PATIENCE_S)
    assert [p for p in old if p.is_running()] == []
    until(lambda: mesh.output, "its return", lambda said: "is back after" in said)
    assert len(processes(mesh)) == 2


@pytest.mark.slow
def test_another_gateway_cannot_share_the_ports(mesh: Mesh) -> None:
    """Only processes of one gateway share them; a second gateway says that they are taken."""
    where = ("--listen", mesh.made["rest"], "--grpc-listen", "127.0.0.1:0")
    for count in ("1", "2"):
        done = run(*INFERLOOM, "gateway", *where, "--processes", count, check=False)
        assert done.returncode == 1
        assert f"cannot listen on {mesh.made['rest']}" in done.stderr


@pytest.mark.slow
def test_flags_hold_for_each_process(start: Callable[..., Running]) -> None:
    """Each goes on for the delay that was typed, and takes requests meanwhile."""
    ports = ("--listen", "127.0.0.1:0", "--grpc-listen", "127.0.0.1:0")
    gateway = start("gateway", *ports, "--processes", "2", "--drain-delay", "600", "--no-store")
    rest = Address.parse(gateway.report()["rest"])
    gateway.signal(signal.SIGTERM)
    until(lambda: gateway.output, "its processes' words", lambda said: said.count("draining ") == 2)
    assert gateway.output.count("not ready; draining in 600 s") == 2
    connection = HTTPConnection(*rest, timeout=PATIENCE_S)
    connection.request("GET", "/health/live")
    assert connection.getresponse().status == 200
    connection.close()
