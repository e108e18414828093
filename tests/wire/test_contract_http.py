"""The native contract on the REST port as people and browsers call it: curl, buf, CORS, limits, logs."""

import asyncio
import base64
import gzip
import json
import struct
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from inferloom.v1 import inference_pb2 as pb
from inferloom.v1 import registry_pb2
from inferloom.v1.registry_pb2_grpc import RegistryServiceStub
from inferloom_mesh.errors import InferloomError, Reason, invalid
from tests.mesh.processes import messages
from tests.patience import PATIENCE_S, Moment
from tests.wire.fake_worker import WORDS, FakeWorker, delta, hang, refuse, started
from tests.wire.gateway_mesh import GatewayMesh, gateway_mesh

pytestmark = pytest.mark.asyncio(loop_scope="module")

SERVICE = "/inferloom.v1.InferenceService"
GENERATE, TOKENIZE = f"{SERVICE}/Generate", f"{SERVICE}/Tokenize"
TEXT = {"model": "chat-model", "text": "Hi"}
ROOT = Path(__file__).parents[2]
BUF = Path(sys.executable).with_name("buf")


@pytest.fixture
def mesh(shared_mesh: GatewayMesh) -> GatewayMesh:
    """One gateway for all tests here: they leave nothing behind in it."""
    return shared_mesh


async def run(*command: str | Path, stdin: bytes = b"") -> tuple[int, bytes, str]:
    """What a command says, and its status."""
    process = await asyncio.create_subprocess_exec(
        *command,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        cwd=ROOT,
    )
    out, err = await asyncio.wait_for(process.communicate(stdin), PATIENCE_S)
    return process.returncode or 0, out, err.decode()


async def curl(mesh: GatewayMesh, path: str, *options: str, stdin: bytes = b"") -> bytes:
    """What curl prints, with the status on a last line."""
    url = f"http://{mesh.rest}{path}"
    status, out, err = await run("curl", "-sS", "-w", "\n%{http_code}", *options, url, stdin=stdin)
    assert status == 0, err
    return out


def frames(body: bytes) -> list[tuple[int, bytes]]:
    """Flags and data of all frames."""
    found = []
    while body:
        flags, size = struct.unpack(">BI", body[:5])
        found.append((flags, body[5 : 5 + size]))
        body = body[5 + size :]
    return found


async def test_curl_calls_a_method(mesh: GatewayMesh) -> None:
    """JSON in and JSON out, as README shows it; no more than a POST with a content type."""
    body = json.dumps(TEXT)
    out = await curl(mesh, TOKENIZE, "--json", body)
    answer, status = out.rsplit(b"\n", 1)
    assert status == b"200"
    assert json.loads(answer) == {"tokenIds": [72, 105], "tokens": ["H", "i"], "contextLength": 512}


async def test_curl_gets_what_has_no_side_effects(mesh: GatewayMesh) -> None:
    """With the message in the query."""
    query = "?encoding=json&message=%7B%7D"
    answer, status = (await curl(mesh, f"{SERVICE}/ListModels{query}")).rsplit(b"\n", 1)
    assert status == b"200"
    assert [model["id"] for model in json.loads(answer)["models"]] == ["chat-model", "org/embedder"]


async def test_curl_reads_a_stream(mesh: GatewayMesh) -> None:
    """A framed message in, framed messages out, each as it comes, and the end."""
    body = json.dumps(TEXT).encode()
    framed = b"\0" + struct.pack(">I", len(body)) + body
    media = "content-type: application/connect+json"
    out = await curl(mesh, GENERATE, "-N", "-H", media, "--data-binary", "@-", stdin=framed)
    answer, status = out.rsplit(b"\n", 1)
    *events, end = frames(answer)
    said = "".join(json.loads(data).get("delta", {}).get("text", "") for _, data in events)
    assert (status, said, end) == (b"200", "".join(WORDS), (2, b"{}"))


async def test_an_error_is_an_http_status_and_json_for_curl(mesh: GatewayMesh) -> None:
    """Also of what is no call at all: another media type, another method, no such method."""
    cases = [
        (TOKENIZE, ["--json", json.dumps({"model": "nobody", "text": "a"})], 404, "not_found"),
        (TOKENIZE, ["--json", '{"modle": "a"}'], 400, "invalid_argument"),
        (TOKENIZE, ["-d", "model=a"], 415, "invalid_argument"),
        (GENERATE, ["--json", json.dumps(TEXT)], 415, "invalid_argument"),
        (GENERATE, [], 405, "unimplemented"),
        (TOKENIZE, ["--json", "{}", "-H", "connect-timeout-ms: soon"], 400, "invalid_argument"),
        (TOKENIZE, ["--json", "{}", "-H", "connect-protocol-version: 2"], 400, "invalid_argument"),
        (TOKENIZE, ["--json", "{}", "-H", "content-encoding: br"], 501, "unimplemented"),
    ]
    for path, options, status, code in cases:
        answer, told = (await curl(mesh, path, *options)).rsplit(b"\n", 1)
        error = json.loads(answer)
        assert (int(told), error["code"]) == (status, code), (path, options)
        assert error["details"][0]["debug"]["domain"] == "inferloom"
    answer, told = (await curl(mesh, f"{SERVICE}/Nothing", "--json", "{}")).rsplit(b"\n", 1)
    assert (told, json.loads(answer)["error"]["code"]) == (b"404", "not_found")


@pytest.mark.parametrize("protocol", ["connect", "grpcweb"])
async def test_buf_calls_each_protocol(mesh: GatewayMesh, protocol: str) -> None:
    """The protocols' own command: a stream, one response, and an error with its details."""

    async def call(method: str, request: dict[str, Any]) -> tuple[int, bytes, str]:
        url = f"http://{mesh.rest}{SERVICE}/{method}"
        common = ("--schema", ".", "--protocol", protocol)
        return await run(BUF, "curl", *common, "-d", json.dumps(request), url)

    (status, out, err), (_, one, _), (failed, _, told) = await asyncio.gather(
        call("Generate", TEXT), call("Tokenize", TEXT), call("Generate", {"model": "nobody", "text": "a"})
    )
    assert status == 0, err
    events = messages(out.decode())
    assert "".join(event.get("delta", {}).get("text", "") for event in events) == "".join(WORDS)
    assert "completed" in events[-1]
    assert json.loads(one)["tokenIds"] == [72, 105]
    assert failed != 0
    error = json.loads(told)
    assert error["code"] == "not_found"
    assert [detail["type"] for detail in error["details"]] == [
        "google.rpc.ErrorInfo",
        "google.rpc.BadRequest",
    ]


async def test_a_page_of_another_origin_may_call_and_read_how_it_ended() -> None:
    """The preflight of a browser's gRPC-Web and Connect clients, and the headers that they must see."""
    origin = "https://app.example"
    async with gateway_mesh(FakeWorker(script=refuse(invalid("text", "No."))), cors=(origin,)) as mesh:
        asked = "content-type,x-grpc-web,x-user-agent,grpc-timeout,connect-protocol-version"
        headers = {"origin": origin, "access-control-request-method": "POST"}
        preflight = await mesh.http.options(
            GENERATE, headers={**headers, "access-control-request-headers": asked}
        )
        assert preflight.status_code == 200
        assert preflight.headers["access-control-allow-headers"] == asked
        media = {"content-type": "application/grpc-web-text", "origin": origin}
        message = pb.GenerateRequest(model="chat-model", text="a").SerializeToString()
        body = base64.b64encode(b"\0" + struct.pack(">I", len(message)) + message)
        response = await mesh.http.post(GENERATE, content=body, headers=media)
    assert response.headers["access-control-allow-origin"] == origin
    exposed = response.headers["access-control-expose-headers"].replace(" ", "").split(",")
    assert {"grpc-status", "grpc-message", "grpc-status-details-bin", "x-request-id"} <= set(exposed)
    assert (response.headers["grpc-status"], response.headers["grpc-message"]) == ("3", "No.")


async def test_grpc_web_text_is_text_to_the_end(mesh: GatewayMesh) -> None:
    """Every frame in base64, the trailers too; as a browser reads it, a piece at a time."""
    message = pb.GenerateRequest(model="chat-model", text="a").SerializeToString()
    body = base64.b64encode(b"\0" + struct.pack(">I", len(message)) + message)
    media = {"content-type": "application/grpc-web-text", "accept": "application/grpc-web-text"}
    response = await mesh.http.post(GENERATE, content=body, headers=media)
    assert response.headers["content-type"] == "application/grpc-web-text+proto"
    text = response.content
    data, at = b"", 0
    while at < len(text):  # each quantum by itself: padding may be anywhere
        data += base64.b64decode(text[at : at + 4])
        at += 4
    *events, (flags, trailers) = frames(data)
    assert "".join(pb.GenerateResponse.FromString(event).delta.text for _, event in events) == "".join(WORDS)
    assert (flags, trailers) == (128, b"grpc-status: 0\r\n")


async def test_bodies_are_bounded(mesh: GatewayMesh) -> None:
    """By what arrives and by what it unpacks to; the next call is answered."""
    async with gateway_mesh(FakeWorker(), max_body_bytes=4096) as small:
        long = json.dumps({**TEXT, "text": "x" * 5000}).encode()
        packed = gzip.compress(long)
        for body, headers in ((long, {}), (packed, {"content-encoding": "gzip"})):
            response = await small.http.post(
                TOKENIZE, content=body, headers={"content-type": "application/json", **headers}
            )
            error = response.json()
            assert (response.status_code, error["code"]) == (400, "invalid_argument")
            assert error["details"][0]["debug"]["reason"] == "REQUEST_TOO_LARGE"
        assert (await small.http.post(TOKENIZE, json=TEXT)).status_code == 200


async def test_a_large_body_holds_up_nobody(mesh: GatewayMesh) -> None:
    """Reading it takes seconds of a thread, and none of the loop's, on which this test runs too."""
    ids = list(range(10**6, 10**6 + 400_000))
    body = json.dumps({"model": "chat-model", "tokenIds": {"ids": ids}}).encode()
    framed = b"\0" + struct.pack(">I", len(body)) + body
    media = {"content-type": "application/connect+json"}
    asking = asyncio.create_task(mesh.http.post(GENERATE, content=framed, headers=media))
    began = last = Moment.now()
    longest = 0.0
    while not asking.done():
        await asyncio.sleep(0.001)
        now = Moment.now()
        longest, last = max(longest, now - last), now
    assert frames(asking.result().content)[-1] == (2, b"{}")
    assert mesh.worker.requests[-1].token_ids.ids == ids
    assert longest < max(0.2, (last - began) / 4)


async def test_a_stream_arrives_as_it_is_made(mesh: GatewayMesh) -> None:
    """The first event is there before the worker says the next, and proxies are asked not to wait."""
    mesh.worker.script = hang
    body = json.dumps(TEXT).encode()
    framed = b"\0" + struct.pack(">I", len(body)) + body
    media = {"content-type": "application/connect+json", "x-request-id": "mine"}
    async with mesh.http.stream("POST", GENERATE, content=framed, headers=media) as response:
        first = await anext(response.aiter_raw())
        assert json.loads(frames(first)[0][1])["started"]["requestId"] == "mine"
        assert response.headers["x-accel-buffering"] == "no"
        assert response.headers["x-request-id"] == "mine"
        assert response.headers["x-inferloom-worker"] == "worker-1"
    await mesh.worker.runs(0)


async def test_a_message_names_its_request(mesh: GatewayMesh) -> None:
    """The name in the message is the one that the response, the log and the worker know; a malformed one is
    refused by the worker and in no header."""
    body = json.dumps({**TEXT, "requestId": "inner"}).encode()
    framed = b"\0" + struct.pack(">I", len(body)) + body
    media = {"content-type": "application/connect+json", "x-request-id": "outer"}
    response = await mesh.http.post(GENERATE, content=framed, headers=media)
    assert response.headers["x-request-id"] == "inner"
    assert mesh.worker.requests[-1].request_id == "inner"
    body = json.dumps({**TEXT, "requestId": "a\r\nb: c"}).encode()
    framed = b"\0" + struct.pack(">I", len(body)) + body
    response = await mesh.http.post(GENERATE, content=framed, headers=media)
    assert response.headers["x-request-id"] == "outer"


async def test_a_fault_of_ours_shows_no_internals(mesh: GatewayMesh) -> None:
    """In a stream, too."""

    async def fails(worker: FakeWorker, request: Any) -> AsyncIterator[pb.GenerateResponse]:
        yield started(request, worker.id)
        yield delta("a")
        raise InferloomError(Reason.SERVER_ERROR, "The server had an internal error.")

    mesh.worker.script = fails
    body = json.dumps(TEXT).encode()
    response = await mesh.http.post(
        GENERATE,
        content=b"\0" + struct.pack(">I", len(body)) + body,
        headers={"content-type": "application/connect+json"},
    )
    flags, end = frames(response.content)[-1]
    assert (response.status_code, flags) == (200, 2)
    assert json.loads(end)["error"]["code"] == "internal"


async def test_metrics_tell_the_doors_apart(mesh: GatewayMesh) -> None:
    """By the protocol."""
    await mesh.http.post(TOKENIZE, json=TEXT)
    body = b"\0" + struct.pack(">I", 0)
    await mesh.http.post(GENERATE, content=body, headers={"content-type": "application/grpc-web"})
    metrics = (await mesh.http.get("/metrics")).text
    assert 'inferloom_requests_total{asked="tokenize",door="connect",' in metrics
    assert 'inferloom_requests_total{asked="generate",door="grpc-web",' in metrics


async def test_health_is_told_by_the_contracts_own_service(mesh: GatewayMesh) -> None:
    """For callers whose health checks are gRPC's and whose connection is HTTP/1.1."""
    check = "/grpc.health.v1.Health/Check"
    for service in ("", SERVICE[1:]):
        response = await mesh.http.post(check, json={"service": service})
        assert response.json() == {"status": "SERVING"}
    response = await mesh.http.post(check, json={"service": "nobody"})
    assert (response.status_code, response.json()["code"]) == (404, "not_found")


REGISTRY = "/inferloom.v1.RegistryService"


async def test_the_registry_is_shown_where_the_operator_says_so(mesh: GatewayMesh) -> None:
    """What changes nothing, at every door of the contract; elsewhere there is no such path."""
    assert (await mesh.http.post(f"{REGISTRY}/ListWorkers", json={})).status_code == 404
    async with gateway_mesh(FakeWorker(), registry_calls=True, drain_limit_s=20) as shown:
        listed = (await shown.http.post(f"{REGISTRY}/ListWorkers", json={})).json()
        query = {"encoding": "json", "message": "{}"}
        assert (await shown.http.get(f"{REGISTRY}/ListWorkers", params=query)).json() == listed
        assert [worker["worker"]["id"] for worker in listed["workers"]] == ["worker-1"]
        for method in ("Register", "Deregister", "KeepAlive"):
            assert (await shown.http.post(f"{REGISTRY}/{method}", json={})).status_code == 404
        by_grpc = RegistryServiceStub(shown.channel)
        assert len((await by_grpc.ListWorkers(registry_pb2.ListWorkersRequest())).workers) == 1
        media = {"content-type": "application/connect+json"}
        body = b"\0" + struct.pack(">I", 2) + b"{}"
        async with shown.http.stream("POST", f"{REGISTRY}/Watch", content=body, headers=media) as response:
            pieces = response.aiter_raw()
            assert "snapshot" in json.loads(frames(await anext(pieces))[0][1])
            shown.registry.remove("worker-1")
            assert json.loads(frames(await anext(pieces))[0][1])["removed"]["workerId"] == "worker-1"
            shown.stop.set()  # a stream that only watches holds up no stop
            assert frames(await anext(pieces)) == [(2, b"{}")]


async def test_a_registry_that_is_away_is_told_as_such() -> None:
    """Not as a worker that was lost."""
    async with gateway_mesh(FakeWorker(), registry_calls=True) as mesh:
        await mesh.registry.stop()
        response = await mesh.http.post(f"{REGISTRY}/ListWorkers", json={})
    error = response.json()
    assert (response.status_code, error["code"]) == (503, "unavailable")
    assert error["message"] == "The registry does not answer."
