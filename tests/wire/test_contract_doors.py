"""The native contract by gRPC, Connect and gRPC-Web: the same calls, answers, errors, deadlines and ends."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from inferloom.v1 import inference_pb2 as pb
from inferloom_mesh.errors import InferloomError, Reason, invalid, overloaded
from tests.patience import PATIENCE_S
from tests.wire.contract_clients import DOORS, HTTP_DOORS, METHODS, RefusedError, ask, responses
from tests.wire.fake_worker import FakeWorker, hang, refuse, started
from tests.wire.gateway_mesh import GatewayMesh, gateway_mesh

pytestmark = pytest.mark.asyncio(loop_scope="module")

GENERATE = METHODS["Generate"]
TEXT = pb.GenerateRequest(model="chat-model", request_id="named", text="Hi")
EMBED = pb.EmbedRequest(model="org/embedder", inputs=[pb.EmbedInput(text="one"), pb.EmbedInput(text="three")])
REQUESTS: dict[str, Any] = {
    "Generate": TEXT,
    "ContinueGenerate": pb.ContinueGenerateRequest(stream="nobody"),
    "Embed": EMBED,
    "Rerank": pb.RerankRequest(model="chat-model", query="q", documents=["a", "b"]),
    "Tokenize": pb.TokenizeRequest(model="chat-model", text="wörld 🌍"),
    "Detokenize": pb.DetokenizeRequest(model="chat-model", token_ids=[72, 105]),
    "GetTokenizer": pb.GetTokenizerRequest(model="chat-model"),
    "ListModels": pb.ListModelsRequest(),
}


@pytest.fixture
def mesh(shared_mesh: GatewayMesh) -> GatewayMesh:
    """One gateway for all tests here: they leave nothing behind in it."""
    return shared_mesh


async def outcome(mesh: GatewayMesh, door: str, name: str, request: Any) -> Any:
    """What a call answers, or why it failed."""
    try:
        return [each async for each in responses(mesh, door, METHODS[name], request)]
    except RefusedError as refusal:
        error = refusal.error
        return (error.reason, error.message, error.param, error.retry_after)


async def test_every_method_has_a_sample() -> None:
    """None is left out below."""
    assert REQUESTS.keys() == METHODS.keys()


@pytest.mark.parametrize("name", METHODS)
@pytest.mark.parametrize("door", HTTP_DOORS)
async def test_each_method_answers_as_through_grpc(mesh: GatewayMesh, door: str, name: str) -> None:
    """Message by message; also where a worker does not know the method."""
    request = REQUESTS[name]
    assert await outcome(mesh, door, name, request) == await outcome(mesh, "grpc", name, request)


@pytest.mark.parametrize("door", HTTP_DOORS)
async def test_a_request_reaches_the_worker_whole(mesh: GatewayMesh, door: str) -> None:
    """Every kind of field, with its presence."""
    request = pb.GenerateRequest(
        model="chat-model",
        request_id="whole",
        chat=pb.ChatInput(
            messages=[pb.ChatMessage(role=pb.ROLE_USER, parts=[pb.ContentPart(text="wörld 🌍\0")])]
        ),
        sampling=pb.SamplingOptions(temperature=0, seed=2**64 - 1, logit_bias={7: -1.5}, n=2),
        stopping=pb.StoppingOptions(max_tokens=0, stop=["a"], stop_token_ids=[1, 2], ignore_eos=False),
        output=pb.OutputOptions(logprobs=True),
        priority=-3,
        cache_salt="s",
    )
    request.chat.template.variables["deep"] = {"list": [1, None, "x"]}
    async for _ in responses(mesh, door, GENERATE, request):
        pass
    assert mesh.worker.requests[-1] == request


@pytest.mark.parametrize("door", DOORS)
@pytest.mark.parametrize(
    "error",
    [
        invalid("sampling.top_p", "sampling.top_p must be at most 1 — really."),
        InferloomError(Reason.CONTEXT_LENGTH_EXCEEDED, "Too long: 100% over.", param="text"),
        overloaded("Full.", retry_after=2.5),
        InferloomError(Reason.SERVER_ERROR, "A grammar could not be compiled."),
    ],
    ids=lambda error: error.reason.value,
)
async def test_a_refusal_has_its_details_at_every_door(
    mesh: GatewayMesh, door: str, error: InferloomError
) -> None:
    """Reason, words, field and when to come again; of a stream that never began."""
    mesh.worker.script = refuse(error)
    with pytest.raises(RefusedError) as caught:
        await anext(responses(mesh, door, GENERATE, TEXT))
    told = caught.value.error
    assert (told.reason, told.message, told.param) == (error.reason, error.message, error.param)
    assert told.retry_after == error.retry_after
    assert caught.value.code == error.row.grpc.name.lower()


@pytest.mark.parametrize("door", DOORS)
async def test_what_a_worker_holds_against_the_gateway_is_not_told_to_its_caller(
    mesh: GatewayMesh, door: str
) -> None:
    """Who may do what between services is no matter of whoever calls."""
    mesh.worker.script = refuse(InferloomError(Reason.PERMISSION_DENIED, "No."))
    with pytest.raises(RefusedError) as caught:
        await anext(responses(mesh, door, GENERATE, TEXT))
    assert caught.value.error.reason is Reason.NO_WORKER


@pytest.mark.parametrize("door", DOORS)
async def test_an_unknown_model_is_refused_by_each(mesh: GatewayMesh, door: str) -> None:
    """Of a call with one response, too."""
    for name in ("Generate", "Tokenize"):
        request = type(REQUESTS[name])(model="chat-modl", text="a")
        assert await outcome(mesh, door, name, request) == (
            Reason.MODEL_NOT_FOUND,
            "The model 'chat-modl' does not exist. Did you mean 'chat-model'?",
            "model",
            None,
        )


async def broken(worker: FakeWorker, request: pb.GenerateRequest) -> AsyncIterator[pb.GenerateResponse]:
    """Say two words, and fail."""
    yield started(request, worker.id)
    yield pb.GenerateResponse(delta=pb.Delta(token_ids=[1], text="Once"))
    raise InferloomError(Reason.WORKER_LOST, "The worker is gone.")


@pytest.mark.parametrize("door", DOORS)
async def test_a_stream_that_breaks_ends_with_the_error(mesh: GatewayMesh, door: str) -> None:
    """What came before it is there, and no caller takes it for a whole answer."""
    mesh.worker.script = broken
    seen = []

    async def read() -> None:
        async for event in responses(mesh, door, GENERATE, TEXT):
            seen.append(event.WhichOneof("event"))  # noqa: PERF401 # what was read before the failure counts

    with pytest.raises(RefusedError) as caught:
        await read()
    assert seen == ["started", "delta"]
    assert caught.value.error.reason is Reason.WORKER_LOST
    assert caught.value.code == "unavailable"


@pytest.mark.parametrize("door", DOORS)
async def test_a_caller_that_leaves_frees_its_slot(mesh: GatewayMesh, door: str) -> None:
    """The worker's call is cancelled; in the middle of a stream, and while it waits for one response."""
    worker = mesh.worker
    worker.script = hang
    stream = responses(mesh, door, GENERATE, TEXT)
    assert (await anext(stream)).HasField("started")
    await worker.runs(1)
    await stream.aclose()
    await worker.runs(0)

    waiting = asyncio.Event()

    async def wait(request: Any) -> None:
        waiting.set()
        await asyncio.Event().wait()

    worker.cancelled.clear()
    worker.on_unary = wait
    call = asyncio.create_task(ask(mesh, door, "Tokenize", REQUESTS["Tokenize"]))
    await asyncio.wait_for(waiting.wait(), PATIENCE_S)
    worker.on_unary = None
    call.cancel()
    await asyncio.wait_for(worker.cancelled.wait(), PATIENCE_S)


@pytest.mark.parametrize("door", DOORS)
async def test_a_callers_deadline_holds(mesh: GatewayMesh, door: str) -> None:
    """The call ends by the gateway's own clock, not only by the client's, and so does the worker's."""
    mesh.worker.script = hang
    header = {"connect": {"connect-timeout-ms": "300"}, "grpc-web": {"grpc-timeout": "300m"}}
    said: Any = {"headers": header[door.rpartition("-")[0]]} if door != "grpc" else {"timeout_ms": 300}

    async def read() -> None:
        async for _ in responses(mesh, door, GENERATE, TEXT, **said):
            pass

    with pytest.raises(RefusedError) as caught:
        await read()
    assert caught.value.code == "deadline_exceeded"
    await mesh.worker.runs(0)


async def test_calls_without_side_effects_can_be_gets(mesh: GatewayMesh) -> None:
    """As Connect's clients make them, in both forms."""
    for name in (
        method.name for method in METHODS.values() if method.reads and method.name != "GetTokenizer"
    ):
        for door in ("connect-proto", "connect-json"):
            answer = await ask(mesh, door, name, REQUESTS[name], use_get=True)
            assert answer == await ask(mesh, "grpc", name, REQUESTS[name])


async def test_what_can_be_a_get_stays_so() -> None:
    """A caller that was built to GET goes on working; what costs a model's time is no GET."""
    reads = {method.name for method in METHODS.values() if method.reads}
    assert reads == {"Tokenize", "Detokenize", "GetTokenizer", "ListModels"}


@pytest.mark.parametrize("door", ["connect-json", "grpc-web-proto"])
async def test_a_worker_that_dies_in_a_stream_ends_it_with_an_error(door: str) -> None:
    """Its connection is gone, in the middle of what it says."""
    async with gateway_mesh(FakeWorker(script=hang)) as mesh:
        stream = responses(mesh, door, GENERATE, TEXT)
        assert [(await anext(stream)).WhichOneof("event") for _ in range(2)] == ["started", "delta"]
        await mesh.worker.kill()
        with pytest.raises(RefusedError) as caught:
            await anext(stream)
    assert caught.value.error.reason is Reason.WORKER_LOST
