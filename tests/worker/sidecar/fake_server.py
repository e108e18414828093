"""A server of another make, in this process: it speaks HTTP as those do, and says what a test lets it say."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

from inferloom_worker.engines.sidecar.kind_facts import PROBE

Say = Callable[[bytes], Awaitable[None]]
Script = Callable[[dict[str, Any], Say], Awaitable[None]]


def chunk(text: str = "", finish: str | None = None, index: int = 0, **more: Any) -> dict[str, Any]:
    """A chunk of a conversation; ``more`` is of its choice."""
    delta = {"content": text} if text else {}
    return {"choices": [{"index": index, "delta": delta, "finish_reason": finish, **more}]}


def event(value: Any) -> bytes:
    """A server-sent event."""
    return b"data: " + json.dumps(value).encode() + b"\n\n"


DONE = b"data: [DONE]\n\n"
USAGE = {
    "choices": [],
    "usage": {
        "prompt_tokens": 7,
        "completion_tokens": 3,
        "prompt_tokens_details": {"cached_tokens": 4},
        "completion_tokens_details": {"reasoning_tokens": 1},
    },
}


async def hello(body: dict[str, Any], say: Say) -> None:
    """An answer of two chunks."""
    for piece in (chunk("Hel"), chunk("lo"), chunk(finish="stop"), USAGE):
        await say(event(piece))
    await say(DONE)


@dataclass
class FakeServer:
    """What it was asked, and what it says."""

    kind: str = "vllm"
    model: dict[str, Any] = field(default_factory=lambda: {"id": "m", "max_model_len": 100, "root": "/w/m"})
    script: Script = hello
    refusal: tuple[int, Any, dict[str, str]] | None = None
    """What chats and completions are answered with instead."""
    key: str = ""
    version: str = "0.99"
    healthy: int = 200
    texts: int = 200
    """The status of what it says to texts: vectors, scores, tokens."""
    asked: list[dict[str, Any]] = field(default_factory=list)
    seen: list[str] = field(default_factory=list)
    """Paths that were asked for beside answers."""
    left: asyncio.Event = field(default_factory=asyncio.Event)
    """Set when a client left in the middle of an answer."""
    port: int = 0
    slots: int = 2
    paths: tuple[str, ...] = ("/v1/chat/completions", "/v1/completions")
    metrics: str = ""
    takes_tools: bool = True
    no_tools: str = '"auto" tool choice requires --enable-auto-tool-choice and --tool-call-parser'
    """What it says to tools that it does not take."""

    template: str = ""
    """Its model's chat template, of a llama-server."""

    @property
    def url(self) -> str:
        """Its address, as people type it."""
        return f"http://127.0.0.1:{self.port}/v1"

    def answers(self) -> dict[str, Any]:
        """What it says of itself, by path."""
        owner = {"llama-server": "llamacpp"}.get(self.kind, self.kind)
        told: dict[str, Any] = {"/v1/models": {"data": [{**self.model, "owned_by": owner}]}}
        if self.kind == "vllm":
            told |= {
                "/version": {"version": self.version},
                "/openapi.json": {"paths": {path: {} for path in self.paths}},
            }
        if self.kind == "llama-server":
            params = {"temperature": 0.8, "top_p": 0.95, "top_k": 40, "min_p": 0.05, "repeat_penalty": 1.0}
            settings = {"n_ctx": 64, "params": params}
            told |= {
                "/props": {
                    "default_generation_settings": settings,
                    "total_slots": self.slots,
                    "build_info": "b1",
                    "chat_template": self.template,
                }
            }
            told |= {"/slots": [{"is_processing": True}, {"is_processing": False}]}
        if self.kind == "ollama":
            told |= {
                "/api/version": {"version": "0.9"},
                "/api/ps": {"models": []},
                "/api/tags": {"models": []},
            }
            told |= {"/api/show": {"capabilities": ["completion", "insert"], "details": {}}}
        return told

    async def _about(self, request: web.Request) -> web.StreamResponse:
        self.seen.append(request.path)
        if self.key and request.headers.get("Authorization") != f"Bearer {self.key}":
            return web.json_response({"error": {"message": f"no key like {self.key}"}}, status=401)
        if request.path == "/health":
            return web.Response(status=self.healthy)
        if request.path == "/metrics" and self.metrics:
            return web.Response(text=self.metrics)
        if request.path in ("/tokenize", "/detokenize", "/v1/embeddings", "/v1/rerank"):
            body = await request.json()
            self.asked.append(body)
            if self.texts != 200:
                return web.Response(status=self.texts)
            return self._of_texts(request.path, body)
        told = self.answers().get(request.path)
        return web.json_response(told) if told is not None else web.Response(status=404)

    def _of_texts(self, path: str, body: dict[str, Any]) -> web.Response:
        if path == "/tokenize":
            return web.json_response({"tokens": [5, 6], "token_strs": ["a", "b"]})
        if path == "/detokenize":
            return web.json_response({"prompt": "ab"})
        if path not in self.paths:
            return web.Response(status=501)
        if path == "/v1/rerank":
            scores = [{"index": i, "relevance_score": len(text)} for i, text in enumerate(body["documents"])]
            return web.json_response({"results": scores[::-1], "usage": {"prompt_tokens": 9}})
        inputs = body["input"] if isinstance(body["input"], list) else [body["input"]]
        data = [{"index": i, "embedding": [3.0, 4.0, float(len(each))]} for i, each in enumerate(inputs)]
        return web.json_response({"data": data, "usage": {"prompt_tokens": 2 * len(inputs)}})

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        body = await request.json()
        if body.get("max_tokens") == 1 and body.get("prompt") == "a":
            return web.json_response({})  # asked when it was found out what it can do
        if [tool["function"]["name"] for tool in body.get("tools", ())] == [PROBE]:
            if self.takes_tools:
                return web.json_response({})
            words = f"{self.no_tools} to be set"
            return web.json_response({"error": {"message": words, "code": 400}}, status=400)
        self.asked.append(body)
        if self.refusal is not None:
            status, said, headers = self.refusal
            return web.json_response(said, status=status, headers=headers)
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        try:
            await self.script(body, response.write)
        except (ConnectionError, asyncio.CancelledError):
            self.left.set()
            raise
        await response.write_eof()
        return response


async def until_left(body: dict[str, Any], say: Say) -> None:
    """Talk until the client leaves."""
    while True:
        await say(event(chunk("more ")))
        await asyncio.sleep(0.01)


async def lost_in_the_middle(body: dict[str, Any], say: Say) -> None:
    """End the connection after the first word."""
    await say(event(chunk("Hel")))
    writer: Any = say
    writer.__self__._payload_writer.transport.abort()


@asynccontextmanager
async def fake_server(server: FakeServer | None = None, port: int = 0) -> AsyncIterator[FakeServer]:
    """Run one until the block ends."""
    server = server or FakeServer()
    app = web.Application(client_max_size=2**26)
    for path in ("/v1/chat/completions", "/v1/completions"):
        app.router.add_post(path, server._answer)
    app.router.add_route("*", "/{path:.*}", server._about)
    runner = web.AppRunner(app, handler_cancellation=True, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", port)
    await site.start()
    sockets = site._server.sockets  # type: ignore[union-attr] # it listens
    server.port = sockets[0].getsockname()[1]
    try:
        yield server
    finally:
        await runner.cleanup()
