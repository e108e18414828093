"""A request that ends workers ends two, however often and through whichever gateway it is asked again."""

import asyncio
import sqlite3
import time
from collections.abc import AsyncIterator
from contextlib import closing
from pathlib import Path
from typing import Any

import grpc
import httpx
import openai
import pytest
from openai import AsyncOpenAI

from inferloom.client.errors import Kind, read
from inferloom.v1 import inference_pb2 as pb
from inferloom_gateway.access.stores.redis_ledger import RedisLedger
from inferloom_gateway.calls.poison import BARRED_S, KEPT_S, MOST, LedgerAwayError, Loss
from inferloom_gateway.settings import GatewaySettings
from inferloom_gateway.storage.poison_ledger import StoreLedger
from inferloom_gateway.storage.storage import Storage
from inferloom_mesh.errors import Reason
from inferloom_mesh.status import from_rpc_error
from tests.patience import until_async
from tests.wire.fake_worker import FakeWorker
from tests.wire.gateway_mesh import GatewayMesh, gateway_mesh
from tests.wire.heard import heard
from tests.wire.redis_server import needs_redis, redis_server
from tests.wire.test_gateway_migration import tell, worker

KILLER: dict[str, Any] = {"model": "chat-model", "messages": [{"role": "user", "content": "die"}]}
OTHER = {"model": "chat-model", "messages": [{"role": "user", "content": "live"}]}


def mortal(name: str) -> FakeWorker:
    """A worker that one request ends."""
    made = worker(name)

    async def script(at: FakeWorker, request: pb.GenerateRequest) -> AsyncIterator[pb.GenerateResponse]:
        async for event in tell(at, request, 0):
            yield event
        if request.chat.messages[0].parts[0].text == "die":
            await heard(at.id, request)
            await at.kill()
        async for event in tell(at, request):
            if not event.HasField("started"):
                yield event

    made.script = script
    return made


async def joined(mesh: GatewayMesh, workers: list[FakeWorker]) -> None:
    """Let another gateway know workers that run."""
    for each in workers:
        mesh.registry.put(each.registered())
    await mesh.lists("chat-model", "org/embedder")


async def ask(mesh: GatewayMesh, body: dict[str, Any]) -> httpx.Response:
    """Its answer."""
    return await mesh.http.post("/v1/chat/completions", json=body)


def asked(workers: list[FakeWorker]) -> int:
    """How many workers had the request."""
    return sum(any(each.chat.messages[0].parts[0].text == "die" for each in at.requests) for at in workers)


async def test_asked_again_it_is_not_tried(tmp_path: Path) -> None:
    """At the same gateway at once, and at another that shares the store before a client comes back. What else
    its tenant asks is answered."""
    workers = [mortal(str(number)) for number in range(5)]
    async with (
        gateway_mesh(*workers, store=tmp_path) as one,
        gateway_mesh(store=tmp_path) as two,
    ):
        await joined(two, workers)
        first = await ask(one, KILLER)
        assert (first.status_code, asked(workers)) == (503, 2)
        again = await ask(one, KILLER)
        await asyncio.sleep(1)  # what an SDK waits at least
        elsewhere = await ask(two, KILLER)
        assert asked(workers) == 2
        for answer in (first, again, elsewhere):
            assert (answer.status_code, answer.json()["error"]["code"]) == (503, "request_barred")
            assert 20 < float(answer.headers["retry-after"]) <= 30
        assert (await ask(one, OTHER)).status_code == 200
        assert (await ask(two, OTHER)).status_code == 200


async def test_who_asks_again_by_himself_is_told_not_to() -> None:
    """OpenAI's SDK obeys, which would wait for the time that it is told, and ask again."""
    workers = [mortal(str(number)) for number in range(4)]
    async with (
        gateway_mesh(*workers) as mesh,
        AsyncOpenAI(base_url=mesh.base_url, api_key="EMPTY", max_retries=2) as client,
    ):
        for _ in range(2):
            with pytest.raises(openai.InternalServerError) as caught:
                async with asyncio.timeout(BARRED_S / 2):
                    await client.chat.completions.create(**KILLER)
            assert caught.value.code == "request_barred"
    assert asked(workers) == 2


async def test_who_calls_by_grpc_is_told_not_to_ask_again() -> None:
    """By a status that no retry policy names, and by its reason."""
    workers = [mortal(str(number)) for number in range(4)]
    part = pb.ContentPart(text="die")
    chat = pb.ChatInput(messages=[pb.ChatMessage(role=pb.ROLE_USER, parts=[part])])
    request = pb.GenerateRequest(model="chat-model", chat=chat)
    async with gateway_mesh(*workers) as mesh:
        for _ in range(2):
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                [event async for event in mesh.stub.Generate(request)]
            assert caught.value.code() is grpc.StatusCode.FAILED_PRECONDITION
            told = from_rpc_error(caught.value)
            assert told.reason is Reason.REQUEST_BARRED
            assert told.retry_after == pytest.approx(BARRED_S, abs=10)
            assert read(caught.value).kind is Kind.FINAL
    assert asked(workers) == 2


async def test_a_gateway_that_keeps_nothing_goes_by_its_own_knowledge() -> None:
    """It says nothing of it, and its own clients' retries are refused."""
    workers = [mortal(str(number)) for number in range(4)]
    async with gateway_mesh(*workers, no_store=True) as mesh:
        await ask(mesh, KILLER)
        await ask(mesh, KILLER)
        assert asked(workers) == 2
        assert (await ask(mesh, OTHER)).status_code == 200


async def test_the_store_is_not_made_while_nothing_is_lost(tmp_path: Path) -> None:
    """A gateway that nobody asked to keep anything keeps nothing."""
    async with gateway_mesh(mortal("a"), store=tmp_path / "store") as mesh:
        assert (await ask(mesh, OTHER)).status_code == 200
        await asyncio.sleep(0.6)  # it looks twice
    assert not (tmp_path / "store").exists()


def shared_losses(store: Path) -> int:
    """How many losses gateways have told each other."""
    with closing(sqlite3.connect(store / "store.sqlite3")) as connection:
        found: int = connection.execute("SELECT count(*) FROM losses").fetchone()[0]
    return found


async def test_a_stream_that_another_gateway_goes_on_with_is_the_same_request(tmp_path: Path) -> None:
    """Its losses are held against it there, though the first worker has given it a seed by then."""
    workers = [worker(str(number)) for number in range(4)]
    dead: list[str] = []

    async def script(at: FakeWorker, request: pb.GenerateRequest) -> AsyncIterator[pb.GenerateResponse]:
        async for event in tell(at, request, 1 if not request.resume.choices else 0):
            yield event
        await heard(at.id, request)
        if len(dead) == 1 and not killed:  # the second worker holds it, until its gateway is dead
            await asyncio.Event().wait()
        dead.append(at.id)
        first.set()
        await at.kill()

    first = asyncio.Event()
    killed: list[str] = []
    for each in workers:
        each.script = script
    async with gateway_mesh(*workers, store=tmp_path) as one, gateway_mesh(store=tmp_path) as two:
        await joined(two, workers)
        body = KILLER | {"stream": True}
        async with one.http.stream(
            "POST", "/v1/chat/completions", json=body, headers={"x-inferloom-resumable": "60"}
        ) as response:
            name = response.headers["x-inferloom-stream"]
            await first.wait()
            await until_async(lambda: shared_losses(tmp_path), "the loss in the store")
            await asyncio.sleep(0.6)  # the other gateway looks twice
        killed.append(name)
        with sqlite3.connect(tmp_path / "store.sqlite3") as connection:
            connection.execute("UPDATE streams SET owner = 'dead', claimed_until = 0")
        async with two.http.stream("GET", f"/v1/streams/{name}") as response:
            told = b"".join([piece async for piece in response.aiter_bytes()])
    assert b"request_barred" in told
    assert len(dead) == 2


def losses(count: int, at: float, tenant: str = "t") -> list[Loss]:
    """So many of one tenant."""
    return [Loss(tenant, number.to_bytes(16, "big"), f"w{number % 3}:1", at) for number in range(count)]


async def check(ledger: RedisLedger | StoreLedger, now: float) -> None:
    """What is written is read, within bounds, and not what is too old or acquitted."""
    every = losses(5, now, "é")
    await ledger.write([*every, *losses(1, now - KEPT_S - 1)])
    assert sorted(await ledger.read()) == sorted(every)
    await ledger.write([every[0]._replace(worker="z:9", at=now)])
    await ledger.write([every[0]._replace(worker="", at=now), every[1]._replace(worker="", at=now), every[1]])
    assert sorted(await ledger.read()) == sorted(every[1:])
    await ledger.write([Loss("u", b"\1" * 16, f"w:{n}", now - 100 + n / 100) for n in range(MOST + 50)])
    assert len(await ledger.read()) == MOST
    assert set(every[1:]) <= set(await ledger.read())


async def test_the_store_has_what_was_told(tmp_path: Path) -> None:
    """See above; and one that is away is told of, and no more."""
    storage = Storage(GatewaySettings(store=tmp_path / "store"))
    await check(StoreLedger(storage), storage.now())
    await storage.close()
    (tmp_path / "file").write_text("")
    broken = Storage(GatewaySettings(store=tmp_path / "file"))
    with pytest.raises(LedgerAwayError):
        await StoreLedger(broken).write(losses(1, broken.now()))


@needs_redis
async def test_redis_has_what_was_told() -> None:
    """See above; and one that is away is told of, and no more."""
    with redis_server() as server:
        ledger = RedisLedger(server.url)
        await check(ledger, time.time())
        await ledger.close()
        away = RedisLedger(server.url)
    with pytest.raises(LedgerAwayError):
        await away.read()
    with pytest.raises(LedgerAwayError):
        await away.write(losses(1, time.time()))
    await away.close()
