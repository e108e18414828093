"""A model server that costs nothing: what is measured in front of it is the proxy.

Usage: python tools/dev/peers/upstream.py PORT

It answers chat completions with ``max_tokens`` pieces of text, each in a write of its own, and the few
questions that proxies ask of a server before they use it. As in a model server, a step has a piece for each
stream that runs, and the next step waits for what has come meanwhile. A second model has all pieces of an
answer ready at once: they reach a proxy as a few blocks, which it can hand on as such.
"""

import asyncio
import json
import sys
from collections.abc import Iterator

MODEL = "costless"
AT_ONCE = "costless-at-once"
_USAGE_PROMPT_TOKENS = 5

_GETS: dict[str, object] = {
    "/v1/models": {
        "object": "list",
        "data": [{"id": name, "object": "model", "owned_by": "upstream"} for name in (MODEL, AT_ONCE)],
    },
    "/health": {"status": "ok"},
    "/get_server_info": {"model_id": MODEL, "served_model_name": MODEL},
    "/server_info": {"model_id": MODEL, "served_model_name": MODEL},
    "/get_model_info": {"model_path": MODEL, "is_generation": True},
    "/model_info": {"model_path": MODEL, "is_generation": True},
}


def chunk(choices: list[object], **more: object) -> bytes:
    """One event of the stream, in a chunk of the HTTP body."""
    value = {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": MODEL, "choices": choices}
    return framed(b"data: " + json.dumps(value | more).encode() + b"\n\n")


def framed(data: bytes) -> bytes:
    """A chunk of an HTTP body."""
    return b"%x\r\n%s\r\n" % (len(data), data)


def usage(tokens: int) -> dict[str, int]:
    """What a completion of ``tokens`` tokens says that it took."""
    total = _USAGE_PROMPT_TOKENS + tokens
    return {"prompt_tokens": _USAGE_PROMPT_TOKENS, "completion_tokens": tokens, "total_tokens": total}


HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
FIRST = chunk([{"index": 0, "delta": {"role": "assistant", "content": ""}, "finish_reason": None}])
PIECES = [
    chunk([{"index": 0, "delta": {"content": f" word{n}"}, "finish_reason": None}]) for n in range(256)
]  # not all the same, which some proxies take for a model that has lost its way
LAST = chunk([{"index": 0, "delta": {}, "finish_reason": "length"}])
DONE = framed(b"data: [DONE]\n\n") + b"0\r\n\r\n"


class Steps:
    """Lets all streams go on by one piece in each turn of the event loop."""

    def __init__(self) -> None:
        self._streams: list[Iterator[None]] = []
        self._runs = False

    def add(self, stream: Iterator[None]) -> None:
        """A stream begins with the next step."""
        self._streams.append(stream)
        if not self._runs:
            self._runs = True
            asyncio.get_running_loop().call_soon(self._step)

    def _step(self) -> None:
        self._streams = [each for each in self._streams if next(each, self) is None]
        self._runs = bool(self._streams)
        if self._runs:
            asyncio.get_running_loop().call_soon(self._step)


class Upstream(asyncio.Protocol):
    """One connection, whose requests come one after another."""

    def __init__(self, steps: Steps) -> None:
        self._steps = steps
        self._rest = b""
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._rest += data
        while (end := self._rest.find(b"\r\n\r\n")) >= 0:
            first, *lines = self._rest[:end].decode("latin-1").split("\r\n")
            fields = {name.lower(): value.strip() for name, _, value in (x.partition(":") for x in lines)}
            stop = end + 4 + int(fields.get("content-length", "0"))
            if len(self._rest) < stop:
                return
            body, self._rest = self._rest[end + 4 : stop], self._rest[stop:]
            method, path, _ = first.split(" ")
            self._answer(method, path.partition("?")[0], body)

    def _answer(self, method: str, path: str, body: bytes) -> None:
        if method == "POST" and path == "/v1/chat/completions":
            asked = json.loads(body)
            tokens = asked.get("max_completion_tokens") or asked.get("max_tokens") or 16
            if asked.get("stream"):
                stream = self._stream(tokens)
                if asked.get("model") == AT_ONCE:
                    list(stream)
                else:
                    self._steps.add(stream)
            else:
                self._json(whole(tokens))
        elif method == "GET" and path in _GETS:
            self._json(_GETS[path])
        else:
            self._json({"error": {"message": f"no {method} {path} here"}}, b"404 Not Found")

    def _stream(self, tokens: int) -> Iterator[None]:
        self._write(HEAD + FIRST)
        for n in range(tokens):
            self._write(PIECES[n % len(PIECES)])
            yield
        self._write(LAST + chunk([], usage=usage(tokens)) + DONE)

    def _json(self, value: object, status: bytes = b"200 OK") -> None:
        body = json.dumps(value).encode()
        head = b"HTTP/1.1 %s\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n"
        self._write(head % (status, len(body)) + body)

    def _write(self, data: bytes) -> None:
        assert self._transport is not None
        self._transport.write(data)


def whole(tokens: int) -> dict[str, object]:
    """A completion that comes at once."""
    message = {"role": "assistant", "content": " word" * tokens}
    choices = [{"index": 0, "message": message, "finish_reason": "length"}]
    fixed = {"id": "c", "object": "chat.completion", "created": 1, "model": MODEL}
    return {**fixed, "choices": choices, "usage": usage(tokens)}


async def serve(port: int) -> None:
    # Not uvloop: it gathers the writes of one turn, and a model server's tokens do not come gathered.
    steps = Steps()
    server = await asyncio.get_running_loop().create_server(lambda: Upstream(steps), "127.0.0.1", port)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(serve(int(sys.argv[1])))
