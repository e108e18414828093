"""Hostile input at every port of real processes, with keys and without: each case's exact answer, and what is
left of it afterwards, which is nothing."""

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import grpc
import psutil
import pytest
import pytest_asyncio

from inferloom.v1 import inference_pb2, link_pb2, worker_pb2
from inferloom.v1.inference_pb2_grpc import InferenceServiceStub
from inferloom.v1.worker_pb2_grpc import WorkerServiceStub
from inferloom_gateway.access.api_key import ApiKey
from inferloom_gateway.access.key_text import digest_of, new_key
from inferloom_gateway.access.stores.sqlite import SqliteStore
from inferloom_mesh.net import Address
from inferloom_mesh.secret import MeshSecret
from tests.hostile import grpc_calls, registry_calls, rest_bodies, rest_framing
from tests.hostile.cases import RestCase, RpcCase
from tests.hostile.clients import OPTIONS, Metadata, ask_link, ask_rest, ask_rpc
from tests.hostile.link_frames import GOOD, LINK, LinkCase
from tests.hostile.link_port import PORT, PREAMBLE, UNFINISHED, PortCase, ask_link_port, ask_port
from tests.mesh.processes import Mesh
from tests.patience import PATIENCE_S, within

pytestmark = pytest.mark.asyncio(loop_scope="module")

SECRET = "a secret of the hostile mesh"

REST = (
    *rest_framing.FRAMING,
    *rest_framing.HEADS,
    *rest_bodies.JSON,
    *rest_bodies.CODED,
    *rest_bodies.VALUES,
    *rest_bodies.PATHS,
)
GRPC = (*grpc_calls.WIRE, *grpc_calls.METHODS, *grpc_calls.FIELDS)
REGISTRY = registry_calls.REGISTRY

MOST_GROWTH = {"registry": 20 * 2**20, "worker": 20 * 2**20, "gateway": 48 * 2**20}
"""How much more memory each process may hold after a second run, in bytes. Large messages leave its allocator
holes: from run to run a gateway's goes up and down by some 30 MiB, the others' by under 10. A link that ends
amid a start of 16 MiB, and that stays until the garbage collector comes, is 32 MiB in a worker."""


@dataclass
class Target:
    """A mesh of real processes, and what opens it."""

    mesh: Mesh
    key: str
    peer: Metadata
    """What shows the mesh's secret."""
    channels: dict[str, grpc.aio.Channel]
    link: Address
    """The worker's port of the link."""
    descriptors: dict[int, int]
    """Of each process, before anything hostile came."""
    checked: int = 0
    """How many cases have been."""

    @property
    def rest(self) -> Address:
        """The REST port."""
        return Address.parse(str(self.mesh.made["rest"]))

    @property
    def caller(self) -> Metadata:
        """What shows the gateway who calls."""
        return (("authorization", f"Bearer {self.key}"),) if self.key else ()

    @property
    def hello(self) -> bytes:
        """How a gateway greets a worker."""
        shown = "".join(str(value) for _, value in self.peer)
        return link_pb2.LinkHello(mesh_secret=shown).SerializeToString()

    def processes(self) -> dict[str, psutil.Process]:
        """The services."""
        return {name: self.mesh.service(name) for name in MOST_GROWTH}


@pytest.fixture(scope="module", params=["with keys", pytest.param("without keys", marks=pytest.mark.slow)])
def hostile_mesh(request: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Mesh, str]]:
    """A mesh, and a key to it."""
    folder: Path = tmp_path_factory.mktemp("hostile")
    key = ""
    args: tuple[str, ...] = ()
    settings = {
        "INFERLOOM_BODY_LIMIT_S": "1.5",
        "INFERLOOM_STORE": str(folder / "store"),
        "INFERLOOM_REQUEST_RECORDS": "100",  # full after the first run
        "MALLOC_ARENA_MAX": "2",  # what the allocator keeps for each thread is no leak
    }
    if request.param == "with keys":
        name, key = new_key()
        SqliteStore(folder / "keys.db", create=True).put_key(ApiKey(name, digest_of(key), "acme"))
        args = ("--keys", str(folder / "keys.db"))
        settings["INFERLOOM_MESH_SECRET"] = SECRET
    mesh = Mesh(folder, "--model", "echo=echo", *args, settings=settings)
    yield mesh, key
    mesh.close()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def target(hostile_mesh: tuple[Mesh, str]) -> AsyncIterator[Target]:
    """The same, with channels to it."""
    mesh, key = hostile_mesh
    at = {"gateway": mesh.grpc, "registry": mesh.registry, "worker": mesh.worker}
    channels = {name: grpc.aio.insecure_channel(address, options=OPTIONS) for name, address in at.items()}
    peer = MeshSecret(SECRET).metadata if key else ()
    control: Any = WorkerServiceStub(channels["worker"])
    status = await control.GetStatus(worker_pb2.GetStatusRequest(), metadata=peer)
    link = Address.parse(status.worker.link_address)
    found = Target(mesh, key, peer, channels, link, {})
    await still_serves(found)
    for opens in rest_bodies.CODED:  # the store, which stays open from its first use on
        if opens.name.startswith("an upload"):
            await check_rest(found, opens)
    for channel in channels.values():
        await channel.channel_ready()
    found.descriptors = {each.pid: each.num_fds() for each in found.processes().values()}
    yield found
    for channel in channels.values():
        await channel.close()


async def still_serves(target: Target) -> None:
    """The next request of somebody who means well is answered."""
    stub: Any = InferenceServiceStub(target.channels["gateway"])
    stopping = inference_pb2.StoppingOptions(max_tokens=2)
    request = inference_pb2.GenerateRequest(model="echo", text="ok", stopping=stopping)
    events = [event async for event in stub.Generate(request, metadata=target.caller, timeout=PATIENCE_S)]
    assert events[-1].HasField("completed")


async def check_rest(target: Target, case: RestCase) -> None:
    """Hold an answer of REST to its case."""
    target.checked += 1
    seen = await asyncio.to_thread(ask_rest, target.rest, case, target.key)
    assert (seen.status, seen.code) == (case.status, case.code), seen.raw[:400]
    assert case.words in seen.text
    assert seen.closed == case.closes
    assert not case.absent or case.absent.encode() not in seen.raw


async def check_rpc(target: Target, case: RpcCase, where: str, shown: Metadata) -> None:
    """Hold an answer of gRPC to its case."""
    target.checked += 1
    status, reason, said = await ask_rpc(target.channels[where], case, shown)
    assert status == case.status, said[:400]
    if status != "DEADLINE_EXCEEDED":  # of which either end may speak first
        assert reason == case.reason, said[:400]
    assert case.words in said


async def check_link(target: Target, case: LinkCase) -> None:
    """Hold the ends of a link's calls, or of the link, to its case."""
    target.checked += 1
    status, told, ends, said = await ask_link(target.channels["worker"], case, target.peer)
    assert status == case.status, told
    assert case.words in (said if status == "OK" else told)
    if status == "OK":
        assert ends == {**case.ends, GOOD: "OK"}


async def check_link_port(target: Target, case: LinkCase) -> None:
    """The same where the link goes without gRPC: what ends its stream there ends the connection here."""
    target.checked += 1
    status, ends, said = await ask_link_port(target.link, case, target.hello)
    frames = [each if isinstance(each, bytes) else each.SerializeToString() for each in case.frames]
    if case.status != "OK" or any(len(each) > 2**20 for each in frames):
        assert status == "ended"
        return
    assert (status, ends) == ("OK", {**case.ends, GOOD: "OK"})
    assert case.words in said


async def check_port(target: Target, case: PortCase) -> None:
    """Hold a connection to its case."""
    target.checked += 1
    assert await ask_port(target.link, case, target.hello) == ""


@pytest.mark.parametrize("case", REST, ids=lambda case: case.name)
async def test_rest(target: Target, case: RestCase) -> None:
    """Each of them is answered as the table says."""
    await check_rest(target, case)


@pytest.mark.parametrize("case", GRPC, ids=lambda case: case.name)
async def test_grpc(target: Target, case: RpcCase) -> None:
    """Each of them is answered as the table says."""
    await check_rpc(target, case, "gateway", target.caller)


@pytest.mark.parametrize("case", REGISTRY, ids=lambda case: case.name)
async def test_registry(target: Target, case: RpcCase) -> None:
    """Each of them is answered as the table says."""
    await check_rpc(target, case, "registry", target.peer)


@pytest.mark.parametrize("case", LINK, ids=lambda case: case.name)
async def test_link(target: Target, case: LinkCase) -> None:
    """Each of them is answered as the table says, and the good call beside it."""
    await check_link(target, case)


async def test_nobody_comes_in_without_a_key(target: Target) -> None:
    """Where keys are on: whatever shows none, another, or two is refused at each door and each port, before
    anything of it is read; where they are off, nobody is asked."""
    if not target.key:
        return
    body = b'{"model":"echo","prompt":"ab","max_tokens":2}'
    for lines, status in {
        b"": 401,
        b"Authorization: Bearer \r\n": 401,
        b"Authorization: Bearer sk-il-" + b"0" * 60 + b"\r\n": 401,
        b"Authorization: Basic " + target.key.encode() + b"\r\n": 401,
        b"Authorization: Bearer " + target.key.encode() * 2 + b"\r\n": 401,
        b"X-Api-Key: " + target.key.encode() + b"\r\n": 401,
        (b"Authorization: Bearer " + target.key.encode() + b"\r\n") * 2: 401,
        b"inferloom-mesh: " + SECRET.encode() + b"\r\n": 401,
        b"Authorization: Bearer " + b"a" * 20_000 + b"\r\n": 401,
    }.items():
        head = b"POST /v1/completions HTTP/1.1\r\nHost: g\r\nContent-Type: application/json\r\n" + lines
        request = head + b"Content-Length: %d\r\n\r\n" % len(body) + body
        seen = await asyncio.to_thread(ask_rest, target.rest, RestCase("", request, status), "")
        assert (seen.status, seen.code) == (status, "invalid_api_key"), lines[:80]
    for where, method in (
        ("gateway", "InferenceService/Generate"),
        ("registry", "RegistryService/ListWorkers"),
        ("worker", "WorkerService/Drain"),
        ("worker", "InferenceService/Generate"),
        ("worker", "LinkService/Attach"),
    ):
        shown: Metadata
        for shown in ((), (("inferloom-mesh", SECRET),), (("inferloom-mesh", "0" * 64),)):
            case = RpcCase("", method, b"\xff", "UNAUTHENTICATED")
            status_name, _, _ = await ask_rpc(target.channels[where], case, shown)
            assert status_name == "UNAUTHENTICATED", (where, method, shown)


async def test_the_tables_are_as_large_as_they_are_said_to_be() -> None:
    """At least 200 cases, at least 40 at each place, and no name twice."""
    places: dict[str, tuple[Any, ...]] = {"REST": REST, "gRPC": GRPC, "registry": REGISTRY, "link": LINK}
    for place, table in places.items():
        assert len(table) >= 40, place
        twice = [name for name, times in Counter(case.name for case in table).items() if times > 1]
        assert not twice, place
    assert sum(map(len, places.values())) >= 200


@pytest.mark.slow
@pytest.mark.parametrize("case", LINK, ids=lambda case: case.name)
async def test_link_without_grpc(target: Target, case: LinkCase) -> None:
    """Each of them is answered as by gRPC."""
    await check_link_port(target, case)


@pytest.mark.parametrize("case", PORT, ids=lambda case: case.name)
async def test_link_port(target: Target, case: PortCase) -> None:
    """Each of them is answered as the table says."""
    await check_port(target, case)


@pytest.mark.slow
async def test_greetings_that_do_not_end_are_ended(target: Target) -> None:
    """After five seconds; a good one is let in meanwhile."""

    async def begin(sent: bytes) -> bytes:
        reader, writer = await asyncio.open_connection(target.link.host, target.link.port)
        writer.write(sent)
        async with within(9):
            heard = await reader.read()
        writer.close()
        return heard

    begun = [asyncio.create_task(begin(sent)) for _, sent in UNFINISHED]
    await check_port(target, next(case for case in PORT if not case.ends))
    assert await asyncio.gather(*begun) == [b""] * len(UNFINISHED)


async def test_only_who_shows_the_secret_is_let_in(target: Target) -> None:
    """At the link's own port as elsewhere."""
    for hello in (b"", link_pb2.LinkHello(mesh_secret="0" * 64).SerializeToString()):
        case = PortCase("", PREAMBLE + len(hello).to_bytes(4, "big") + hello, ends=bool(target.peer))
        case = replace(case, welcome=not target.peer)
        assert await ask_port(target.link, case, b"") == ""


async def everything(target: Target) -> None:
    """All cases once more, but those that wait."""
    for case in REST:
        if case.status != 408:
            await check_rest(target, case)
    for call in GRPC:
        await check_rpc(target, call, "gateway", target.caller)
    for call in REGISTRY:
        await check_rpc(target, call, "registry", target.peer)
    for each in LINK:
        await check_link(target, each)
        await check_link_port(target, each)
    for raw in PORT:
        await check_port(target, raw)


async def test_the_same_processes_serve_on_as_before(target: Target) -> None:
    """None has ended; no slot is taken, no descriptor is open, and a second run of all of it takes no
    memory."""
    services = target.processes()
    processes = list(services.values())
    assert {each.pid for each in processes} == set(target.descriptors)
    if target.checked < len(REST) + len(GRPC) + len(REGISTRY) + 2 * len(LINK) + len(PORT):
        await everything(target)  # this test was asked for alone
    before = {each.pid: each.memory_info().rss for each in processes}
    await everything(target)
    await still_serves(target)
    control: Any = WorkerServiceStub(target.channels["worker"])
    deadline = time.monotonic() + PATIENCE_S
    now: dict[int, int] = {}

    async def at_rest() -> bool:
        nonlocal now
        status = await control.GetStatus(worker_pb2.GetStatusRequest(), metadata=target.peer)
        running = status.load.running, status.load.waiting
        now = {each.pid: each.num_fds() for each in processes}
        return running == (0, 0) and all(now[pid] <= held + 2 for pid, held in target.descriptors.items())

    while not await at_rest():
        assert time.monotonic() < deadline, (now, target.descriptors)
        await asyncio.sleep(0.1)
    for name, each in services.items():
        assert each.is_running()
        assert each.memory_info().rss - before[each.pid] <= MOST_GROWTH[name], name
