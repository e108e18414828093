"""The line of the access log: one request in short, whoever answered it, without prompts and answers."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal
from urllib.parse import unquote

from inferloom_mesh.errors import InferloomError, Reason, shown

CANCELLED = "cancelled"
"""In place of a reason: the caller left, or a drain ended the request, before its end."""

_PLAIN = re.compile(r"[!#-~]+")
_TIMES = ("ttft", "queue", "prefill", "decode", "total")


@dataclass(slots=True, kw_only=True)
class AccessLine:
    """One request. Times in seconds; None or empty: not known, or it never came to that."""

    door: Literal["rest", "grpc"]
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
    client: str = ""

    def __str__(self) -> str:
        """The line for people: what, how it went, then ``name=value``."""
        words = [self.method if self.door == "rest" else f"grpc {self.method}"]
        if self.path:
            words.append(_plain(self.path))
        words.append("-" if self.status is None else str(self.status))
        words += self._named("error", "model", "worker")
        if self.prompt_tokens is not None:
            words.append(f"in={self.prompt_tokens}")
            if self.cached_tokens:
                words.append(f"cached={self.cached_tokens}")
        if self.completion_tokens is not None:
            words.append(f"out={self.completion_tokens}")
        times = ((name, getattr(self, name)) for name in _TIMES)
        words += [f"{name}={time * 1e3:.1f}ms" for name, time in times if time is not None]
        if self.attempts is not None:
            words.append(f"attempts={self.attempts}")
        return " ".join(words + self._named("client", "request_id"))

    def _named(self, *names: str) -> list[str]:
        values = ((name, getattr(self, name)) for name in names)
        return [f"{name}={_plain(value)}" for name, value in values if value]

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
        for name in _TIMES:
            time = getattr(self, name)
            known[f"{name}_ms"] = None if time is None else round(time * 1e3, 3)
        return known | {"attempts": self.attempts, "client": self.client or None}


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
    text = shown(text)
    return text if _PLAIN.fullmatch(text) else json.dumps(text)
