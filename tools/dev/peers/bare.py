"""A gateway and a worker that do nothing but pass a stream on: what the transport by itself costs.

Usage: python tools/dev/peers/bare.py PORT

Two processes on uvicorn and grpc.aio, set up as Inferloom's are. The worker answers every Generate with the
contract's events and as many deltas as were asked for; the gateway looks at nothing, and writes each event as
it comes. Without validation, routing or text there is nothing left to save but the transport.
"""

import asyncio
import multiprocessing
import sys
from collections.abc import AsyncIterator
from multiprocessing.connection import Connection
from typing import Any

import grpc
import orjson
import uvicorn
import uvloop
from starlette.types import Receive, Scope, Send

from inferloom.v1 import inference_pb2 as pb
from inferloom.v1.inference_pb2_grpc import (
    InferenceServiceServicer,
    InferenceServiceStub,
    add_InferenceServiceServicer_to_server,
)
from inferloom_mesh.channel import open_channel
from inferloom_mesh.runtime import settle
from inferloom_mesh.server import OPTIONS

MODEL = "bare"
_PROMPT_TOKENS = 45


class _Worker(InferenceServiceServicer):
    async def Generate(  # noqa: N802 # the contract's name
        self, request: pb.GenerateRequest, context: Any
    ) -> AsyncIterator[pb.GenerateResponse]:
        yield pb.GenerateResponse(started=pb.Started(request_id="x", model=MODEL))
        tokens = request.stopping.max_tokens
        for at in range(tokens):
            yield pb.GenerateResponse(delta=pb.Delta(token_index=at, token_ids=(65,), text="A"))
        yield pb.GenerateResponse(finished=pb.Finished(reason=pb.FINISH_REASON_LENGTH))
        usage = pb.Usage(prompt_tokens=_PROMPT_TOKENS, completion_tokens=tokens)
        yield pb.GenerateResponse(completed=pb.Completed(usage=usage))


def _work(ports: Connection) -> None:
    async def serve() -> None:
        server = grpc.aio.server(options=OPTIONS)
        add_InferenceServiceServicer_to_server(
            _Worker(),  # type: ignore[abstract] # its base answers other calls with UNIMPLEMENTED
            server,
        )
        ports.send(server.add_insecure_port("127.0.0.1:0"))
        await server.start()
        settle()
        await server.wait_for_termination()

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(serve())


class _Gateway:
    def __init__(self, worker: int) -> None:
        self._worker = worker
        self._stub: Any = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        head = {
            "type": "http.response.start",
            "status": 200,
            "headers": [(b"content-type", b"text/event-stream")],
        }
        if scope["method"] == "GET":
            await send(head)
            await send({"type": "http.response.body", "body": b"ok"})
            return
        body = orjson.loads((await receive())["body"])
        if self._stub is None:
            self._stub = InferenceServiceStub(open_channel(f"127.0.0.1:{self._worker}"))
            settle()
        part = pb.ContentPart(text=body["messages"][-1]["content"])
        chat = pb.ChatInput(messages=[pb.ChatMessage(role=pb.ROLE_USER, parts=[part])])
        stopping = pb.StoppingOptions(max_tokens=body["max_tokens"])
        request = pb.GenerateRequest(model=MODEL, request_id="x", chat=chat, stopping=stopping)
        last = b""
        async for event in self._stub.Generate(request, timeout=60):
            match event.WhichOneof("event"):
                case "started":
                    await send(head)
                    piece = _event([{"index": 0, "delta": {"role": "assistant", "content": ""}}])
                case "delta":
                    piece = _event([{"index": 0, "delta": {"content": event.delta.text}}])
                case "finished":
                    piece = _event([{"index": 0, "delta": {}, "finish_reason": "length"}])
                case _:
                    used = event.completed.usage
                    usage = {"prompt_tokens": used.prompt_tokens, "completion_tokens": used.completion_tokens}
                    last = _event([], usage=usage) + b"data: [DONE]\n\n"
                    continue
            await send({"type": "http.response.body", "body": piece, "more_body": True})
        await send({"type": "http.response.body", "body": last})


def _event(choices: list[object], **more: object) -> bytes:
    value = {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": MODEL, "choices": choices}
    return b"data: " + orjson.dumps(value | more) + b"\n\n"


def main() -> None:
    here, there = multiprocessing.Pipe()
    worker = multiprocessing.get_context("spawn").Process(target=_work, args=(there,), daemon=True)
    worker.start()
    uvicorn.run(
        _Gateway(here.recv()),
        host="127.0.0.1",
        port=int(sys.argv[1]),
        lifespan="off",
        log_level="warning",
        access_log=False,
    )


if __name__ == "__main__":
    main()
