"""Gateways that restart, hang or break behind proxies, as the client meets them over real gRPC."""

import asyncio
import threading
from collections.abc import Callable
from concurrent import futures
from typing import Any

import grpc
import pytest

from inferloom.client import AsyncClient, Client, InferloomError, course
from inferloom.client.course import Course, Trying
from inferloom.v1 import inference_pb2 as pb
from inferloom_mesh.listening import reserve
from inferloom_mesh.net import Address
from tests.cli.fake_mesh import FakeGateway
from tests.client.gateways import ANYWHERE, Busy, Keeper, served, silent
from tests.patience import PATIENCE_S, until_async, within
from tests.wire.tcp_proxy import TcpProxy

SERVICE = "inferloom.v1.InferenceService"


def serve(port: int) -> grpc.Server:
    """A gateway with threads of its own, which only chats, at a port that is reserved."""

    def generate(request: pb.GenerateRequest, context: Any) -> Any:
        yield pb.GenerateResponse(delta=pb.Delta(text="Paris."))
        yield pb.GenerateResponse(completed=pb.Completed())

    handler = grpc.unary_stream_rpc_method_handler(
        generate, pb.GenerateRequest.FromString, pb.GenerateResponse.SerializeToString
    )
    server = grpc.server(futures.ThreadPoolExecutor(2))
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(SERVICE, {"Generate": handler}),))
    server.add_insecure_port(f"127.0.0.1:{port}")
    server.start()
    return server


@pytest.mark.parametrize("away_s", [0.0, 0.3])
def test_a_gateway_that_restarts_is_reached_by_the_tries_that_there_are(away_s: float) -> None:
    """The connection is made anew within the time that they take."""
    with reserve(ANYWHERE) as held, Client(f"127.0.0.1:{held.getsockname()[1]}") as client:
        port = held.getsockname()[1]
        server = serve(port)
        assert client.chat("talker", "Hi").text == "Paris."
        server.stop(0).wait()
        back: list[grpc.Server] = []
        timer = threading.Timer(away_s, lambda: back.append(serve(port)))
        timer.start()
        assert client.chat("talker", "Hi").text == "Paris."
        timer.join()
        back[0].stop(0).wait()


async def test_a_resumable_stream_outlives_a_gateway_that_is_away_for_long(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Longer than any other request is tried for: until the stream is kept no more."""
    monkeypatch.setattr(course, "_LONGEST_WAIT_S", 0.02)
    keeper, tried, failed = Keeper(), list[InferloomError](), Course.failed

    def counted(self: Course, error: InferloomError, *, elsewhere: bool = False) -> float:
        tried.append(error)
        return failed(self, error, elsewhere=elsewhere)

    async def rest() -> str:
        return "".join([text async for text in stream])

    monkeypatch.setattr(Course, "failed", counted)
    with reserve(ANYWHERE) as held:
        at = Address("127.0.0.1", held.getsockname()[1])
        client = AsyncClient(str(at), retries=0)
        async with served(keeper, at, shared=True) as (_, server):
            stream = client.stream_chat("talker", "Hi", resumable_s=60)
            assert await anext(aiter(stream)) == "a "
            await server.stop(0)
        reading = asyncio.create_task(rest())
        await until_async(lambda: len(tried), "tries in vain", lambda seen: seen > 3 * Trying().retries)
        async with served(keeper, at, shared=True), client:
            assert await reading == "b c d"
    assert len(keeper.begun) == 1


@pytest.mark.parametrize("code", ["UNAVAILABLE", "INTERNAL", "CANCELLED", "UNKNOWN"])
async def test_a_stream_is_gone_on_with_behind_a_proxy(code: str) -> None:
    """Which says in its own words that its upstream died."""
    keeper = Keeper(grpc.StatusCode[code])
    async with served(keeper) as (address, _), AsyncClient(address) as client:
        stream = client.stream_chat("talker", "Hi", resumable_s=60)
        assert [event.sequence async for event in stream.events()] == list(range(7))

        def work() -> str:
            with Client(address) as client, client.stream_chat("talker", "Hi", resumable_s=60) as stream:
                return "".join(stream)

        assert await asyncio.to_thread(work) == "a b c d"
    assert len(keeper.begun) == 2


async def test_a_stream_whose_beginning_was_lost_is_not_begun_again() -> None:
    """The client gave it its name, and asks for it; also where the caller had named the request."""
    keeper = Keeper(silent=1)
    async with served(keeper) as (address, _), AsyncClient(address) as client:
        stream = client.stream_chat("talker", "Hi", resumable_s=60, request_id="mine")
        assert "".join([text async for text in stream]) == "a b c d"
        assert keeper.begun == ["mine"]
        keeper.asked = 0

        def work() -> str:
            with Client(address) as client, client.stream_chat("talker", "Hi", resumable_s=60) as stream:
                return "".join(stream)

        assert await asyncio.to_thread(work) == "a b c d"
        assert len(keeper.begun) == 2
        with pytest.raises(InferloomError) as taken:
            [text async for text in client.stream_chat("talker", "Hi", resumable_s=60, request_id="mine")]
    assert taken.value.reason == "ALREADY_EXISTS"


async def test_a_gateway_that_hangs_is_left_for_another() -> None:
    """The request that it cost is lost; the next one is answered. A dead one costs one, too, where nothing is
    tried again."""
    async with served(FakeGateway()) as (good, _):
        with silent() as hung:
            for named, how in (([hung, good], {"timeout": 0.5}), (["127.0.0.1:1", good], {"retries": 0})):
                options: dict[str, Any] = how
                async with AsyncClient(named, **options) as client:
                    with pytest.raises(InferloomError):
                        await client.chat("talker", "Hi")
                    assert (await client.chat("talker", "Hi")).text == "Paris."

                def work(named: list[str] = named, options: dict[str, Any] = options) -> str:
                    with Client(named, **options) as client:
                        with pytest.raises(InferloomError):
                            client.chat("talker", "Hi")
                        return client.chat("talker", "Hi").text

                assert await asyncio.to_thread(work) == "Paris."


async def test_a_message_that_is_too_large_is_sent_once() -> None:
    """To one gateway, which refuses it without a reason."""
    fake = FakeGateway()
    async with served(fake) as (address, _), AsyncClient([address, "127.0.0.1:1"]) as client:
        with pytest.raises(InferloomError) as large:
            await client.chat("talker", "a" * (17 * 2**20))
        assert large.value.code is grpc.StatusCode.RESOURCE_EXHAUSTED
        assert (await client.chat("talker", "Hi")).text == "Paris."


async def _closes(client: AsyncClient, begin: Callable[[], Any], under_way: Callable[[], object]) -> None:
    task = asyncio.create_task(begin())
    await until_async(under_way, "the call")
    await client.close()
    with pytest.raises(InferloomError, match="closed"):
        await task
    with pytest.raises(InferloomError, match="closed"):
        await client.chat("talker", "Hi")


async def test_whoever_waits_while_the_client_is_closed_is_told() -> None:
    """For an answer, or for the next try: no task ends as if it had been cancelled."""
    busy = Busy(asyncio.Event())
    async with served(busy) as (address, _):
        client = AsyncClient(address)
        await _closes(client, lambda: client.chat("talker", "Hi"), lambda: busy.requests)
        cancelled = AsyncClient(address)
        task = asyncio.create_task(cancelled.chat("talker", "Hi"))
        await until_async(lambda: len(busy.requests), "the second call", lambda seen: seen == 2)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await cancelled.close()
    waits = AsyncClient("127.0.0.1:1", retries=9)
    started = asyncio.get_running_loop().time() + 0.5
    async with within(4):
        await _closes(
            waits,
            lambda: waits.chat("talker", "Hi"),
            lambda: asyncio.get_running_loop().time() > started,
        )


def test_the_same_in_threads() -> None:
    """Nothing is asked again, and no channel is opened."""
    client, failures = Client("127.0.0.1:1", retries=99), list[str]()

    def ask() -> None:
        try:
            client.chat("talker", "Hi")
        except InferloomError as failure:
            failures.append(str(failure))

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for each in threads:
        each.start()
    threading.Event().wait(0.3)
    client.close()
    for each in threads:
        each.join(PATIENCE_S)
    assert failures == ["The client is closed."] * 4
    assert client._channels == {}


@pytest.mark.slow
async def test_a_gateway_that_vanished_is_noticed_within_half_a_minute() -> None:
    """Nothing is closed, and nothing comes."""
    fake = FakeGateway(hangs=True)
    async with served(fake) as (address, _), TcpProxy(Address.parse(address)) as proxy:
        async with AsyncClient(str(proxy.address)) as client:
            stream = client.stream_chat("talker", "Hi")

            async def read() -> None:
                async for _ in stream:
                    proxy.freeze()

            with pytest.raises(InferloomError) as lost:
                await asyncio.wait_for(read(), 35)
        assert lost.value.lost
