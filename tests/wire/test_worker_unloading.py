"""Unloading, draining and loading anew while requests run."""

import asyncio
import threading
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.protobuf.duration_pb2 import Duration

from inferloom.v1 import inference_pb2 as pb
from inferloom.v1 import worker_pb2
from inferloom_mesh.errors import Reason, invalid
from inferloom_worker.constrain.compiler import GrammarCompiler
from inferloom_worker.text.pool import TextPool
from tests.patience import PATIENCE_S
from tests.wire.running_worker import limited, refused, running_worker, text_request


async def test_a_model_that_is_loaded_anew_under_its_name_keeps_its_requests() -> None:
    """A rolling update: the old model's requests are ended at the limit, and the new one's go on."""
    async with running_worker("m=echo:delay_ms=50", drain_limit_s=1.0) as worker:
        old = worker.stub.Generate(text_request("abc", model="m", **limited(1000)))
        await old.read()
        unloading = asyncio.create_task(
            _finish(worker.control.UnloadModel(worker_pb2.UnloadModelRequest(model="m")))
        )
        async with asyncio.timeout(PATIENCE_S):
            while (await worker.status()).models:
                pass
        spec = "echo:delay_ms=50"
        await worker.control.LoadModel(worker_pb2.LoadModelRequest(model="m", spec=spec))
        new = asyncio.create_task(worker.generate(text_request("abc", model="m", **limited(60))))
        await unloading
        with pytest.raises(grpc.aio.AioRpcError):
            await _to_end(old)
        assert (await new).all("completed")[0].usage.completion_tokens == 60


async def test_an_alias_answers_in_its_own_name() -> None:
    """With the model's tokens and its compute hash; it is gone when the model is."""
    async with running_worker("m=echo", aliases=("gpt-4o=m",)) as worker:
        asked = [
            await worker.generate(text_request("abc", model=name, **limited(3))) for name in ("m", "gpt-4o")
        ]
        started = [answer.all("started")[0] for answer in asked]
        assert [each.model for each in started] == ["m", "gpt-4o"]
        assert started[0].compute_hash == started[1].compute_hash
        assert asked[0].tokens() == asked[1].tokens()
        await worker.control.UnloadModel(worker_pb2.UnloadModelRequest(model="m"))
        gone = await refused(worker.stub.Generate(text_request(model="gpt-4o")))
        assert gone.reason is Reason.MODEL_NOT_FOUND


async def test_a_request_that_is_being_checked_counts_as_running(monkeypatch: pytest.MonkeyPatch) -> None:
    """A drain waits for it, and says so if it ended it."""
    run, checking, go_on = TextPool.run, asyncio.Event(), asyncio.Event()

    async def slow(self: TextPool, param: str, work: Any, **how: Any) -> Any:
        if param == "input":
            checking.set()
            await go_on.wait()
        return await run(self, param, work, **how)

    monkeypatch.setattr(TextPool, "run", slow)
    async with running_worker("echo=echo:context=100000") as worker:
        asked = asyncio.create_task(_reason(worker.stub.Generate(text_request("a" * 20_000))))
        await checking.wait()
        answer = await worker.control.Drain(worker_pb2.DrainRequest(limit=Duration(nanos=300_000_000)))
        go_on.set()
        assert answer.ended_requests == 1
        assert await asked is Reason.NO_WORKER


async def test_requests_whose_grammars_wait_go_on_elsewhere(
    smollm_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two of a tenant's are compiled; the third waits for them when the model is unloaded, and one is still
    tokenised. None is held against the worker."""
    asking, begun, release = asyncio.Semaphore(0), asyncio.Semaphore(0), threading.Event()
    loop, run, tokenising, go_on = asyncio.get_running_loop(), TextPool.run, asyncio.Event(), asyncio.Event()

    def compile_(*_: object, **__: object) -> None:
        loop.call_soon_threadsafe(begun.release)
        assert release.wait(PATIENCE_S)
        raise invalid("constraint", "no")

    async def slow(self: TextPool, param: str, work: Any, **how: Any) -> Any:
        if param == "text" and not how["quick"]:
            tokenising.set()
            await go_on.wait()
        if param == "constraint.regex":
            asking.release()
        return await run(self, param, work, **how)

    monkeypatch.setattr(GrammarCompiler, "compile", compile_)
    monkeypatch.setattr(TextPool, "run", slow)
    async with running_worker(f"m={smollm_file}", drain_limit_s=0.2) as worker:
        texts = ("a", "a", "a", "a " * 2000)
        requests = [text_request(text, "m", constraint=pb.Constraint(regex="[a-z]+")) for text in texts]
        asked = [asyncio.create_task(_reason(worker.stub.Generate(request))) for request in requests]
        async with asyncio.timeout(PATIENCE_S):
            for each in (begun, begun, asking, asking, asking):
                await each.acquire()
            await tokenising.wait()
            await worker.control.UnloadModel(worker_pb2.UnloadModelRequest(model="m"))
            go_on.set()
            (waited,), _ = await asyncio.wait(asked[:3], return_when=asyncio.FIRST_COMPLETED)
            assert waited.result() is Reason.NO_WORKER
            assert await asked[3] is Reason.NO_WORKER
            release.set()
            assert await asyncio.gather(*asked) == [Reason.NO_WORKER] * 4


async def _finish(call: Any) -> Any:
    return await call


async def _reason(call: Any) -> Reason:
    return (await refused(call)).reason


async def _to_end(call: Any) -> None:
    while await call.read() is not grpc.aio.EOF:
        pass
