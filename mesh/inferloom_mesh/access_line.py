"""The line of the access log: one request in short, whoever answered it, without prompts and answers."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal
from urllib.parse import unquote

from inferloom_mesh.errors import MOST_QUOTED, InferloomError, Reason, shown
from inferloom_mesh.log_format import Structured

CANCELLED = "cancelled"
"""In place of a reason: the caller left, or a drain ended the request, before its end."""

Door = Literal["rest", "connect", "grpc-web", "grpc"]

_PLAIN = re.compile(r"[!#-~]+")


@dataclass(slots=True, kw_only=True)
class AccessLine(Structured):
    """One request. Times in seconds; None or empty: not known, or it never came to that."""

    door: Door
    method: str
    """``POST`` and the like, or a gRPC method's own name."""
    path: str = ""
    status: int | str | None
    """HTTP's number or gRPC's name; None: nothing was sent."""
    error: str = ""
    request_id: str = ""
    model: str = ""
    worker: str = ""
    prompt_tokens: int | None = None
    cached_tokens: int = 0
    """Prompt tokens that were not computed again."""
    completion_tokens: int | None = None
    ttft: float | None = None
    """Until the first token or vector."""
    queue: float | None = None
    prefill: float | None = None
    decode: float | None = None
    total: float | None = None
    attempts: int | None = None
    """Calls to workers."""
    moved: tuple[int, ...] = ()
    """How many tokens the caller had each time that it went on at another worker."""
    client: str = ""
    key: str = ""
    """Id of the API key that was shown."""
    trace_id: str = ""
    """The W3C trace that it belongs to."""

    def __str__(self) -> str:
        """The line for people: what, how it went, then ``name=value``."""
        line = f"grpc {self.method}" if self.door == "grpc" else self.method
        if self.path:
            line += f" {_plain(self.path)}"
        line += f" {'-' if self.status is None else self.status}"
        if self.error:
            line += f" error={self.error}"
        if self.model:
            line += f" model={_plain(self.model)}"
        if self.worker:
            line += f" worker={_plain(self.worker)}"
        if self.prompt_tokens is not None:
            line += f" in={self.prompt_tokens}"
            if self.cached_tokens:
                line += f" cached={self.cached_tokens}"
        if self.completion_tokens is not None:
            line += f" out={self.completion_tokens}"
        for name, seconds in self._times():
            if seconds is not None:
                line += f" {name}={seconds * 1e3:.1f}ms"
        if self.attempts is not None:
            line += f" attempts={self.attempts}"
        if self.moved:
            line += f" moved={','.join(map(str, self.moved))}"
        if self.client:
            line += f" client={self.client}"
        if self.key:
            line += f" key={self.key}"
        if self.trace_id:
            line += f" trace={self.trace_id}"
        if self.request_id:
            line += f" request_id={_plain(self.request_id)}"
        return line

    def _times(self) -> tuple[tuple[str, float | None], ...]:
        return (
            ("ttft", self.ttft),
            ("queue", self.queue),
            ("prefill", self.prefill),
            ("decode", self.decode),
            ("total", self.total),
        )

    def fields(self) -> Mapping[str, object]:
        """The line for machines; every name is always there, null where nothing is known."""
        known: dict[str, object] = {
            "message": f"{self.method} {shown(self.path) or self.door}",
            "request_id": self.request_id,
            "door": self.door,
            "method": self.method,
            "path": shown(self.path) or None,
            "status": self.status,
            "error": self.error or None,
            "model": shown(self.model) or None,
            "worker": self.worker or None,
            "prompt_tokens": self.prompt_tokens,
            "cached_tokens": self.cached_tokens,
            "completion_tokens": self.completion_tokens,
        }
        for name, seconds in self._times():
            known[f"{name}_ms"] = None if seconds is None else round(seconds * 1e3, 3)
        known |= {"attempts": self.attempts, "moved": list(self.moved)}
        return known | {
            "client": self.client or None,
            "key": self.key or None,
            "trace_id": self.trace_id or None,
        }


def address(peer: str) -> str:
    """``127.0.0.1:5000`` of ``ipv4:127.0.0.1:5000``, and the like."""
    return unquote(peer).removeprefix("ipv4:").removeprefix("ipv6:")


def error_name(error: InferloomError | Reason | None) -> str:
    """What a line calls an error: its reason in small letters, as REST's codes are."""
    if error is None:
        return ""
    return (error if isinstance(error, Reason) else error.reason).value.lower()


def _plain(text: str) -> str:
    """A caller's text in one word: cut if it is long, quoted where it could look like something else."""
    if len(text) > MOST_QUOTED:
        text = shown(text)
    return text if _PLAIN.fullmatch(text) else json.dumps(text)
