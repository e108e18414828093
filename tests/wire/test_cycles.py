"""What a request leaves is freed when it ends, and not whenever the garbage collector comes by."""

import asyncio
import gc
import json
import types
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from inferloom.v1 import inference_pb2 as pb
from tests.wire import cut_short
from tests.wire.echo_mesh import EchoMesh, echo_mesh

MODEL, EMBEDS = "m", "e"
TIMES = 3

_GRPCS = {"inferloom_mesh.call_end._Once", "inferloom_mesh.interceptor._lenient.<locals>.read"}
"""What a call of grpc's own keeps in its cycles: nothing of the request."""

Ask = Callable[[EchoMesh], Awaitable[object]]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def mesh(minilm_folder: Path) -> AsyncIterator[EchoMesh]:
    """A mesh in this process, whose collector sees all of its ends."""
    models = (f"{MODEL}=echo:chunk=1", "slow=echo:chunk=1,delay_ms=200", f"{EMBEDS}={minilm_folder}")
    async with echo_mesh(*models) as running:
        yield running


def post(path: str, status: int = 200, headers: dict[str, str] | None = None, /, **body: Any) -> Ask:
    """A request with a body, read to its end."""

    async def ask(mesh: EchoMesh) -> None:
        answer = await mesh.http.post(path, json={"model": MODEL, **body}, headers=headers)
        assert answer.status_code == status, answer.text

    return ask


def get(path: str, status: int = 200) -> Ask:
    """A request without one."""

    async def ask(mesh: EchoMesh) -> None:
        answer = await mesh.http.get(path)
        assert answer.status_code == status, answer.text

    return ask


def generates() -> Ask:
    """A call of gRPC's."""

    async def ask(mesh: EchoMesh) -> None:
        request = pb.GenerateRequest(model=MODEL, text="abc", stopping=pb.StoppingOptions(max_tokens=9))
        assert [event async for event in mesh.stub.Generate(request)]

    return ask


def directly() -> Ask:
    """The same at the worker."""

    async def ask(mesh: EchoMesh) -> None:
        request = pb.GenerateRequest(model=MODEL, text="abc", stopping=pb.StoppingOptions(max_tokens=9))
        assert [event async for event in mesh.workers[0].stub.Generate(request)]

    return ask


async def leaves(mesh: EchoMesh) -> None:
    """A client that goes amid its answer."""
    body = {"model": MODEL, "messages": CHAT, "max_tokens": 3000, "ignore_eos": True, "stream": True}
    async with mesh.http.stream("POST", "/v1/chat/completions", json=body) as response:
        async for _ in response.aiter_raw():
            break
    await asyncio.sleep(0.05)


async def anew(mesh: EchoMesh) -> None:
    """A request on a connection of its own."""
    reader, writer = await asyncio.open_connection(mesh.rest.host, mesh.rest.port)
    body = json.dumps({"model": MODEL, "messages": CHAT, "max_tokens": 9, "stream": True})
    head = "POST /v1/chat/completions HTTP/1.1\r\nhost: a\r\nconnection: close\r\n"
    head += f"content-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n"
    writer.write(f"{head}{body}".encode())
    assert b"[DONE]" in await reader.read()
    writer.close()
    await writer.wait_closed()


CHAT = [{"role": "user", "content": "Tell me."}]
KINDS: dict[str, Ask] = {
    "chat, streamed": post("/v1/chat/completions", messages=CHAT, max_tokens=9, stream=True),
    "chat, in one body": post("/v1/chat/completions", messages=CHAT, max_tokens=9),
    "chat, several": post("/v1/chat/completions", messages=CHAT, max_tokens=9, n=3, stream=True),
    "chat, kept": post("/v1/chat/completions", messages=CHAT, max_tokens=9, store=True),
    "completion": post("/v1/completions", prompt="abc", max_tokens=9),
    "completions of several": post("/v1/completions", prompt=["abc", "de"], max_tokens=9, stream=True),
    "response": post("/v1/responses", input="abc", max_output_tokens=9),
    "response, streamed": post("/v1/responses", input="abc", max_output_tokens=9, stream=True),
    "a stream that can be resumed": post(
        "/v1/chat/completions", 200, {"x-inferloom-resumable": "5"}, messages=CHAT, max_tokens=9, stream=True
    ),
    "a deadline amid a stream": post(
        "/v1/chat/completions", 200, {"x-request-timeout": "0.5"}, messages=CHAT, model="slow", stream=True
    ),
    "a deadline before a token": post(
        "/v1/chat/completions", 504, {"x-request-timeout": "0.1"}, messages=CHAT, model="slow"
    ),
    "embeddings": post("/v1/embeddings", model=EMBEDS, input=["a", "b"]),
    "no embeddings": post("/v1/embeddings", 400, input="a"),
    "ranking": post("/v1/rerank", model=EMBEDS, query="a", documents=["a", "b"]),
    "no such file": get("/v1/files/file-0", 404),
    "tokenize": post("/tokenize", prompt="abc"),
    "models": get("/v1/models"),
    "health": get("/health/ready"),
    "a body that is refused": post("/v1/chat/completions", 400, messages=CHAT, temperature=9),
    "a worker's refusal": post("/v1/completions", 400, prompt="abc " * 99_999),
    "no such model": post("/v1/chat/completions", 404, messages=CHAT, model="no"),
    "no such path": get("/v1/nothing", 404),
    "a connection of its own": anew,
    "a client that leaves": leaves,
    "generate": generates(),
    "generate, directly": directly(),
    "a worker's refusal, directly": cut_short.refusal_of_a_worker,
    "a gateway's refusal": cut_short.refusal_of_a_gateway,
    "a registry's refusal": cut_short.refusal_of_a_registry,
    "a link that leaves": cut_short.link_that_leaves,
    "a link that is ended": cut_short.link_that_is_ended,
    "a gRPC link that leaves": cut_short.stream_that_leaves,
    "a gRPC link that is ended": cut_short.stream_that_is_ended,
}


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize("kind", KINDS)
async def test_nothing_is_left_for_the_collector(mesh: EchoMesh, kind: str) -> None:
    """Of what is the product's own."""
    ask = KINDS[kind]
    for _ in range(2):
        await ask(mesh)
    await asyncio.sleep(0.02)
    with collected() as found:
        for _ in range(TIMES):
            await ask(mesh)
        await asyncio.sleep(0.02)
    own = Counter(name for each in found if (name := _own(each)))
    assert not own


@contextmanager
def collected() -> Iterator[list[object]]:
    """What the block leaves to the collector."""
    found: list[object] = []
    gc.collect()
    gc.disable()
    gc.set_debug(gc.DEBUG_SAVEALL)
    try:
        yield found
        gc.collect()
        found += gc.garbage
    finally:
        gc.set_debug(0)
        gc.garbage.clear()
        gc.enable()


def _own(found: object) -> str:
    """The name of something of the product's, or a message of its contract; empty: it is neither."""
    kind = found if isinstance(found, types.FunctionType) else type(found)
    name = f"{kind.__module__}.{kind.__qualname__}"
    return name if name.startswith("inferloom") and name not in _GRPCS else ""
