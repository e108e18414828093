"""What a mesh is asked for, so that it answers with everything that its answers can have."""

import json
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class Call:
    """One request, by its path below /v1."""

    method: str
    path: str
    body: dict[str, Any] | None = None
    template: str = ""
    """The path as a description has it, where that is another."""
    file: bytes | None = None
    """What is uploaded."""
    keeps: dict[str, str] = field(default_factory=dict)
    """Names for fields of the answer, which later paths and bodies have in braces."""

    @property
    def described(self) -> str:
        """The path as a description has it."""
        return self.template or self.path


_TOOL = {
    "type": "function",
    "function": {
        "name": "weather",
        "parameters": {
            "type": "object",
            "properties": {"city": {"type": "string"}},
            "required": ["city"],
            "additionalProperties": False,
        },
    },
}


def calls(chat: str, embedder: str) -> list[Call]:
    """All calls, in order, of a model that chats and one that embeds."""
    hello = {"model": chat, "messages": [{"role": "user", "content": "Say hello."}], "max_tokens": 8}
    once = {"model": chat, "prompt": "Once upon", "max_tokens": 5}
    typed = {"model": chat, "input": "Say hello.", "max_output_tokens": 16}
    usage = {"stream": True, "stream_options": {"include_usage": True}}
    line = {"custom_id": "a", "method": "POST", "url": "/v1/completions", "body": once}
    called = {**hello, "tools": [_TOOL], "tool_choice": "required", "max_tokens": 64}
    return [
        Call("get", "/models"),
        Call("get", f"/models/{chat}", template="/models/{model}"),
        Call("post", "/chat/completions", hello),
        Call("post", "/chat/completions", {**hello, "n": 2, "logprobs": True, "top_logprobs": 2}),
        Call("post", "/chat/completions", {**hello, **usage, "logprobs": True}),
        Call("post", "/chat/completions", called),
        Call("post", "/chat/completions", {**called, **usage}),
        Call("post", "/completions", {**once, "logprobs": 2}),
        Call("post", "/completions", {**once, "echo": True, "logprobs": 1}),
        Call("post", "/completions", {**once, **usage}),
        Call("post", "/embeddings", {"model": embedder, "input": ["a", "b"]}),
        Call("post", "/responses", typed, keeps={"id": "response"}),
        Call("post", "/responses", {**typed, "stream": True}),
        Call("get", "/responses/{response}", template="/responses/{response_id}"),
        Call("get", "/responses/{response}/input_items", template="/responses/{response_id}/input_items"),
        Call("post", "/files", file=json.dumps(line).encode(), keeps={"id": "file"}),
        Call("get", "/files"),
        Call("get", "/files/{file}", template="/files/{file_id}"),
        Call(
            "post",
            "/batches",
            {"input_file_id": "{file}", "endpoint": "/v1/completions", "completion_window": "24h"},
            keeps={"id": "batch"},
        ),
        Call("get", "/batches"),
        Call("get", "/batches/{batch}", template="/batches/{batch_id}"),
        Call("delete", "/files/{file}", template="/files/{file_id}"),
    ]
