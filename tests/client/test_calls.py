"""The client over real gRPC, with and without an event loop."""

import asyncio
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from typing import Any

import grpc
import pytest

from inferloom.client import AsyncClient, Client, InferloomError, directory, told
from inferloom.v1 import inference_pb2 as pb
from inferloom.v1 import registry_pb2
from inferloom.v1.inference_pb2_grpc import add_InferenceServiceServicer_to_server
from inferloom.v1.registry_pb2_grpc import add_RegistryServiceServicer_to_server
from inferloom_mesh.errors import InferloomError as Failure
from inferloom_mesh.errors import Reason
from inferloom_mesh.net import Address
from inferloom_mesh.server import build_server
from tests.cli.fake_mesh import FakeGateway, FakeRegistry
from tests.patience import PATIENCE_S


class Gateway(FakeGateway):
    """Breaks resumable streams after each event, and notes how it was called."""

    def __init__(self) -> None:
        super().__init__()
        self.metadata: list[dict[str, Any]] = []
        self.failures: list[Failure] = []
        self.stream = ""

    async def Generate(self, request: pb.GenerateRequest, context: Any) -> AsyncIterator[pb.GenerateResponse]:
        self.metadata.append(dict(context.invocation_metadata()))
        if self.failures:
            raise self.failures.pop()
        if "x-inferloom-resumable" not in self.metadata[-1]:
            async for event in super().Generate(request, context):
                yield event
            return
        self.stream = request.request_id
        await context.send_initial_metadata([("x-inferloom-stream", self.stream)])
        async for event in self._from(0):
            yield event
            await context.abort(grpc.StatusCode.UNAVAILABLE, "the connection is lost")

    async def ContinueGenerate(
        self, request: pb.ContinueGenerateRequest, context: Any
    ) -> AsyncIterator[pb.GenerateResponse]:
        assert request.stream == self.stream
        await context.send_initial_metadata([("x-inferloom-stream", self.stream)])
        count = 0
        async for event in self._from(request.after + 1):
            yield event
            count += 1
            if count == 2:
                await context.abort(grpc.StatusCode.UNAVAILABLE, "the connection is lost")

    async def _from(self, first: int) -> AsyncIterator[pb.GenerateResponse]:
        events = [
            pb.GenerateResponse(started=pb.Started(request_id="r")),
            *(pb.GenerateResponse(delta=pb.Delta(text=word)) for word in ("a ", "b ", "c ", "d")),
            pb.GenerateResponse(finished=pb.Finished(reason=pb.FINISH_REASON_STOP)),
            pb.GenerateResponse(completed=pb.Completed()),
        ]
        for sequence, event in list(enumerate(events))[first:]:
            event.sequence = sequence
            yield event


@pytest.fixture
def registry() -> FakeRegistry:
    """That which the gateway's address is, too."""
    return FakeRegistry()


@pytest.fixture
async def gateway(registry: FakeRegistry) -> AsyncIterator[tuple[Gateway, str]]:
    """It, and a registry that knows it as a worker, on one address."""
    server = build_server(["inferloom.v1.InferenceService", "inferloom.v1.RegistryService"])
    gateway = Gateway()
    add_InferenceServiceServicer_to_server(gateway, server.grpc)
    add_RegistryServiceServicer_to_server(registry, server.grpc)
    address = str(await server.listen(Address("127.0.0.1", 0)))
    row = registry_pb2.RegisteredWorker(
        lease_state=registry_pb2.LEASE_STATE_ACTIVE,
        worker=registry_pb2.Worker(
            id="w",
            address=address,
            state=registry_pb2.WORKER_STATE_READY,
            models=[pb.Model(id="talker"), pb.Model(id="other")],
        ),
    )
    registry.workers.append(row)
    yield gateway, address
    await server.stop(0)


@pytest.fixture(params=["gateway", "registry"])
def named(request: pytest.FixtureRequest, gateway: tuple[Gateway, str]) -> dict[str, Any]:
    """How a client finds it: by itself, or by a registry."""
    return {request.param: gateway[1]}


async def test_answers_streams_vectors_and_models(named: dict[str, Any]) -> None:
    """Through a gateway, or straight to the worker that a registry names."""
    async with AsyncClient(**named) as client:
        assert (await client.chat("talker", "Hi")).text == "Paris."
        stream = client.stream_complete("talker", "Hi")
        assert [text async for text in stream] == ["Par", "is."]
        assert stream.answer.choices[0].finish_reason == "stop"
        assert await client.embed("other", ["a", "b"]) == [[1.0, -0.5]] * 2
        assert {model.id for model in await client.models()} >= {"talker"}


async def test_the_same_without_an_event_loop(named: dict[str, Any]) -> None:
    """Which is on a thread here."""

    def work() -> None:
        with Client(**named) as client:
            assert client.chat("talker", [("user", "Hi")]).text == "Paris."
            with client.stream_chat("talker", "Hi") as stream:
                assert list(stream) == ["Par", "is."]
            assert client.embed("other", ["a"]) == [[1.0, -0.5]]
            assert {model.id for model in client.models()} >= {"talker"}

    await asyncio.to_thread(work)


async def test_a_resumable_stream_survives_its_connections(gateway: tuple[Gateway, str]) -> None:
    """Every event once, in order, with a key each time."""
    fake, address = gateway
    async with AsyncClient(address, api_key="sk-1") as client:
        stream = client.stream_chat("talker", "Hi", resumable_s=60)
        sequences = [event.sequence async for event in stream.events()]
    assert sequences == list(range(7))
    assert stream.answer.text == "a b c d"
    assert fake.metadata[0]["authorization"] == "Bearer sk-1"
    assert fake.metadata[0]["x-inferloom-resumable"] == "60"

    def work() -> str:
        with Client(address) as client, client.stream_chat("talker", "Hi", resumable_s=60) as stream:
            return "".join(stream)

    assert await asyncio.to_thread(work) == "a b c d"


async def test_what_is_refused_is_told_in_the_contracts_words(gateway: tuple[Gateway, str]) -> None:
    """Reason, field and when to come back; a full mesh is asked again."""
    fake, address = gateway
    fake.failures = [Failure(Reason.INVALID_ARGUMENT, "No.", param="sampling.top_p")]
    async with AsyncClient(address) as client:
        with pytest.raises(InferloomError, match=r"^No\.$") as refused:
            await client.chat("talker", "Hi")
        assert (refused.value.reason, refused.value.field) == ("INVALID_ARGUMENT", "sampling.top_p")
        fake.failures = [Failure(Reason.SERVER_OVERLOADED, "Full.", retry_after=0.01)] * 2
        assert (await client.chat("talker", "Hi")).text == "Paris."
        assert fake.failures == []


async def test_another_gateway_is_called_where_one_is_away(gateway: tuple[Gateway, str]) -> None:
    """And one that nobody answers at is an error in words, not a hang."""
    _, address = gateway
    async with AsyncClient(["127.0.0.1:1", address]) as client:
        assert (await client.chat("talker", "Hi")).text == "Paris."
    async with AsyncClient("127.0.0.1:1", retries=1) as client:
        with pytest.raises(InferloomError) as lost:
            await client.tokenize("talker", "Hi")
    assert lost.value.lost


async def test_a_dead_worker_is_not_tried_again_while_its_lease_lasts(
    gateway: tuple[Gateway, str], registry: FakeRegistry
) -> None:
    """The registry lists it first, as the least busy; the next in its order is called. A single retry is
    enough, and the registry that answered is asked again: there is nobody at the other one."""
    _, address = gateway
    dead = registry_pb2.RegisteredWorker()
    dead.CopyFrom(registry.workers[0])
    dead.worker.address = "127.0.0.1:1"
    registry.workers[0].load.running = 5
    registry.workers.append(dead)
    async with AsyncClient(registry=[address, "127.0.0.1:2"], retries=1) as client:
        assert (await client.chat("talker", "Hi")).text == "Paris."
        assert await client.embed("other", ["a"]) == [[1.0, -0.5]]

    def work() -> None:
        with Client(registry=[address, "127.0.0.1:2"], retries=1) as client:
            assert client.chat("talker", "Hi").text == "Paris."
            assert client.embed("other", ["a"]) == [[1.0, -0.5]]

    await asyncio.to_thread(work)


async def test_another_registry_is_asked_where_one_is_away(gateway: tuple[Gateway, str]) -> None:
    """With and without an event loop."""
    named = ["127.0.0.1:2", gateway[1]]
    async with AsyncClient(registry=named, retries=1) as client:
        assert (await client.chat("talker", "Hi")).text == "Paris."

    def work() -> None:
        with Client(registry=named, retries=1) as client:
            assert {model.id for model in client.models()} >= {"talker"}

    await asyncio.to_thread(work)


@contextmanager
def silent() -> Iterator[str]:
    """An address that takes connections and says nothing."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield f"127.0.0.1:{listener.getsockname()[1]}"


async def test_another_registry_is_asked_where_one_says_nothing(
    gateway: tuple[Gateway, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """That it hangs is not the request's own deadline."""
    monkeypatch.setattr(told, "REGISTRY_S", 0.2)
    with silent() as hung:
        async with AsyncClient(registry=[hung, gateway[1]], retries=1) as client:
            assert (await client.chat("talker", "Hi")).text == "Paris."

        def work() -> None:
            with Client(registry=[hung, gateway[1]], retries=1) as client:
                assert {model.id for model in client.models()} >= {"talker"}
                assert client.chat("talker", "Hi").text == "Paris."

        await asyncio.to_thread(work)
        async with AsyncClient(registry=hung, timeout=0.1) as client:
            with pytest.raises(InferloomError) as late:
                await client.chat("talker", "Hi")
    assert late.value.code is grpc.StatusCode.DEADLINE_EXCEEDED


async def test_workers_that_a_new_registry_does_not_know_yet_are_waited_for(
    gateway: tuple[Gateway, str], registry: FakeRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They come back to it within seconds."""
    monkeypatch.setattr(directory, "_SETTLING_S", 0.05)
    registry.settling = 2
    async with AsyncClient(registry=gateway[1]) as client:
        assert (await client.chat("talker", "Hi")).text == "Paris."

    def work() -> None:
        with Client(registry=gateway[1]) as client:
            assert client.embed("other", "a") == [[1.0, -0.5]]

    registry.settling = 2
    await asyncio.to_thread(work)
    assert registry.settling == 0


async def test_leaving_a_stream_ends_the_generation(gateway: tuple[Gateway, str]) -> None:
    """As cancelling does."""
    fake, address = gateway
    fake.hangs = True
    async with AsyncClient(address) as client:
        async with client.stream_chat("talker", "Hi") as stream:
            async for _ in stream:
                break
            await asyncio.wait_for(fake.said.wait(), PATIENCE_S)  # it hangs from then on
        await asyncio.wait_for(fake.cancelled.wait(), PATIENCE_S)


async def test_a_model_that_no_worker_has_is_not_found(gateway: tuple[Gateway, str]) -> None:
    """Where a registry is asked."""
    async with AsyncClient(registry=gateway[1]) as client:
        with pytest.raises(InferloomError, match="nothing") as missing:
            await client.chat("nothing", "Hi")
    assert missing.value.code is grpc.StatusCode.NOT_FOUND


def test_a_client_is_told_whom_to_call() -> None:
    """One or the other."""
    with pytest.raises(ValueError, match="gateway or a registry"):
        Client()
    with pytest.raises(ValueError, match="gateway or a registry"):
        AsyncClient("a:1", registry="b:1")
