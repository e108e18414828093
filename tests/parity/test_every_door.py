"""Each REST parameter that sets a field of the contract, by the table: a worker gets the same, whether it was
said to the REST façade, by the OpenAI SDK or curl, or in the contract's words by any of its protocols."""

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

import pytest
import pytest_asyncio
from google.protobuf import json_format
from openai import AsyncOpenAI

from inferloom.parameter_table import Meaning
from inferloom.parameters import ENDPOINTS
from inferloom.v1 import inference_pb2 as pb
from tests.mesh.processes import BIN
from tests.parity.samples import ELSEWHERE, LEAST, SAMPLES, Sample, merged
from tests.patience import PATIENCE_S
from tests.wire.contract_clients import METHODS, responses
from tests.wire.fake_worker import CHAT, EMBEDDER, FakeWorker
from tests.wire.gateway_mesh import GatewayMesh, gateway_mesh

pytestmark = pytest.mark.asyncio(loop_scope="module")

RANKER = pb.Model(id="ranker", tasks=[pb.TASK_RERANK], context_length=128)
PATHS = {endpoint.name: endpoint.path for endpoint in ENDPOINTS}
METHOD_OF = {f"{name}Request": method for name, method in METHODS.items()}
BY_SDK = ("chat", "completions", "embeddings", "responses")

DOORS = ("grpc", "connect-json", "grpc-web-proto")
"""Protocols of the contract; their other forms are proved with one request of each kind."""

CASES = [
    pytest.param(sample, id=f"{sample.endpoint}-{number}-{'+'.join(sample.rest)}")
    for number, sample in enumerate(SAMPLES)
]


@dataclass
class Parity:
    """A gateway in front of a worker that remembers what it was asked, and an application's client of it."""

    mesh: GatewayMesh
    sdk: AsyncOpenAI
    bases: dict[str, Any] = field(default_factory=dict)
    """What the worker gets of each endpoint's least body."""


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def parity() -> AsyncIterator[Parity]:
    """One for all tests here."""
    async with gateway_mesh(FakeWorker(models=(CHAT, EMBEDDER, RANKER))) as mesh, mesh.openai() as sdk:
        made = Parity(mesh, sdk)
        for endpoint, body in LEAST.items():
            made.bases[endpoint] = await by_rest(made, endpoint, body)
        yield made


def named_rows(endpoint: str) -> set[str]:
    """The parameters of an endpoint that set a field of the contract."""
    [found] = [each for each in ENDPOINTS if each.name == endpoint]
    return {row.name for row in found.parameters.values() if row.meaning is Meaning.FIELD}


def said(endpoint: str) -> set[str]:
    """Those that the samples say."""
    return {name for sample in SAMPLES if sample.endpoint == endpoint for name in sample.names()}


async def test_every_parameter_has_a_sample() -> None:
    """What has none yet is named."""
    missing = {
        f"{endpoint.name}: {name}"
        for endpoint in ENDPOINTS
        for name in named_rows(endpoint.name) - said(endpoint.name)
        if (endpoint.name, name) not in ELSEWHERE
    }
    assert missing == set()
    assert {key for key in ELSEWHERE if key[1] not in named_rows(key[0])} == set(), "no such row any more"


async def test_the_count(capsys: pytest.CaptureFixture[str]) -> None:
    """Rows through doors, as ``pytest -s`` prints it."""
    rows = sum(len(named_rows(each.name) & said(each.name)) for each in ENDPOINTS)
    doors = ("rest", *DOORS)
    with capsys.disabled():
        print(
            f"\nparity: {rows} parameters x {len(doors)} doors = {rows * len(doors)}; {len(SAMPLES)} samples"
        )
    assert rows >= 200


def plain(request: Any) -> Any:
    """A request without the name that its door gave it."""
    copy = type(request)()
    copy.CopyFrom(request)
    copy.ClearField("request_id") if "request_id" in copy.DESCRIPTOR.fields_by_name else None
    return copy


async def by_rest(parity: Parity, endpoint: str, body: dict[str, Any]) -> Any:
    """What the worker gets of a REST body, by the SDK where it knows the endpoint."""
    parity.mesh.worker.requests.clear()
    if endpoint in BY_SDK:
        await by_sdk(parity.sdk, endpoint, body)
    else:
        response = await parity.mesh.http.post(PATHS[endpoint], json=body)
        assert response.status_code == 200, response.text
    [request] = parity.mesh.worker.requests
    return plain(request)


async def by_sdk(client: AsyncOpenAI, endpoint: str, body: dict[str, Any]) -> None:
    """Ask as an application does, with what the SDK has no word for in ``extra_body``."""
    make: Any = {
        "chat": client.chat.completions.create,
        "completions": client.completions.create,
        "embeddings": client.embeddings.create,
        "responses": client.responses.create,
    }[endpoint]
    least = {name: body[name] for name in LEAST[endpoint] if name in body}
    await make(**least, extra_body={name: value for name, value in body.items() if name not in least})


def expected(parity: Parity, sample: Sample) -> Any:
    """The request that the sample's contract words make of what the endpoint's least body makes."""
    base = parity.bases[sample.endpoint]
    assert sample.contract is not None
    words = merged(json_format.MessageToDict(base), sample.contract)
    return json_format.ParseDict(words, type(base)())


@pytest.mark.parametrize("sample", CASES)
async def test_a_parameter_is_the_same_at_every_door(parity: Parity, sample: Sample) -> None:
    """The worker gets one and the same request, whole, from all of them."""
    if sample.contract is None:
        response = await parity.mesh.http.post(PATHS[sample.endpoint], json=sample.body)
        assert response.status_code == 400
        assert response.json()["error"]["param"].split(".")[0] in sample.rest
        return
    mesh, wanted = parity.mesh, expected(parity, sample)
    assert await by_rest(parity, sample.endpoint, sample.body) == wanted
    method = METHOD_OF[wanted.DESCRIPTOR.name]
    for door in DOORS:
        mesh.worker.requests.clear()
        async for _ in responses(mesh, door, method, wanted):
            pass
        [request] = mesh.worker.requests
        assert plain(request) == wanted, door


async def run(*command: str, stdin: str = "") -> str:
    """What a command prints; it must succeed."""
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(*command, stdin=pipe, stdout=pipe, stderr=pipe)
    out, err = await asyncio.wait_for(process.communicate(stdin.encode()), PATIENCE_S)
    assert process.returncode == 0, err.decode()
    return out.decode()


@pytest.mark.parametrize("sample", CASES[::16])
async def test_a_parameter_is_the_same_by_commands(parity: Parity, sample: Sample) -> None:
    """curl for REST and for Connect, and grpcurl, which need no more than a body in JSON."""
    if sample.contract is None:
        return
    mesh, wanted = parity.mesh, expected(parity, sample)
    method = METHOD_OF[wanted.DESCRIPTOR.name]
    words = json.dumps(json_format.MessageToDict(wanted))
    grpcurl = (str(BIN / "grpcurl"), "-plaintext", "-d", "@", str(mesh.grpc), method.path[1:])
    url = f"http://{mesh.rest}"
    calls = [
        (("curl", "-sSf", "--json", "@-", url + PATHS[sample.endpoint]), json.dumps(sample.body)),
        (grpcurl, words),
    ]
    if not method.streams:
        calls.append((("curl", "-sSf", "--json", "@-", url + method.path), words))
    for command, stdin in calls:
        mesh.worker.requests.clear()
        await run(*command, stdin=stdin)
        [request] = mesh.worker.requests
        assert plain(request) == wanted, command
