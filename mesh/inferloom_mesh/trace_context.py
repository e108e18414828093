"""W3C Trace Context: what a caller says of the trace that its request belongs to. Pure."""

import random
import re
from dataclasses import dataclass
from typing import Self

PARENT = "traceparent"
STATE = "tracestate"

LONGEST_STATE = 512
"""Characters of a tracestate that are passed on; whole members are left out beyond it."""

_SAMPLED = 1

_PARENT = re.compile(
    r"(?!ff)([0-9a-f]{2})-(?!0{32})([0-9a-f]{32})-(?!0{16})([0-9a-f]{16})-([0-9a-f]{2})(-.*)?"
)
_MEMBER = re.compile(
    r"(?:[a-z][a-z0-9_*/-]{0,255}|[a-z0-9][a-z0-9_*/-]{0,240}@[a-z][a-z0-9_*/-]{0,13})"
    r"=[ -+\--<>-~]{0,255}[!-+\--<>-~]"
)
_MOST_MEMBERS = 32


@dataclass(frozen=True, slots=True)
class TraceContext:
    """A place in a trace: a span that others are made under."""

    trace_id: str
    """32 hexadecimal digits."""
    span_id: str
    """16 hexadecimal digits; those of the span."""
    sampled: bool
    """Whether its maker keeps the span."""
    state: str = ""
    """What tracing systems say to themselves: a ``tracestate``."""

    @classmethod
    def read(cls, parent: str | None, state: str | None = None) -> Self | None:
        """What two headers say. None: nothing, or what their standard does not allow."""
        found = None if parent is None else _PARENT.fullmatch(parent)
        if found is None or (found[1] == "00" and found[5] is not None):
            return None
        return cls(found[2], found[3], bool(int(found[4], 16) & _SAMPLED), valid_tracestate(state))

    @property
    def parent(self) -> str:
        """The ``traceparent`` that tells it."""
        return f"00-{self.trace_id}-{self.span_id}-0{int(self.sampled)}"

    def child(self) -> Self:
        """Another place, under this one."""
        return type(self)(self.trace_id, new_span_id(), self.sampled, self.state)


@dataclass(frozen=True, slots=True)
class OpenSpan:
    """A span that has begun and is to be kept."""

    here: TraceContext
    """Its own place, under which others are made."""
    parent_id: str = ""
    """The span that it was made under; empty: none."""

    @property
    def at(self) -> tuple[str, str, str]:
        """Its trace, itself and its parent."""
        return self.here.trace_id, self.here.span_id, self.parent_id

    def under(self, span_id: str) -> tuple[str, str, str]:
        """The same of another one whose parent it is."""
        return self.here.trace_id, span_id, self.here.span_id


def trace_id(traceparent: str) -> str:
    """The trace that a valid traceparent names; empty of none."""
    return traceparent[3:35]


def valid_tracestate(text: str | None) -> str:
    """A tracestate; empty where it is absent or malformed."""
    if not text:
        return ""
    members = [member.strip(" \t") for member in text.split(",", _MOST_MEMBERS + 1)]
    members = [member for member in members if member]
    keys = {member.partition("=")[0] for member in members}
    if len(members) > _MOST_MEMBERS or len(keys) < len(members):
        return ""
    if not all(_MEMBER.fullmatch(member) for member in members):
        return ""
    while members and len(",".join(members)) > LONGEST_STATE:
        members.pop()
    return ",".join(members)


def new_trace(*, sampled: bool) -> TraceContext:
    """The first place of a trace that begins here."""
    return TraceContext(f"{_bits(128):032x}", new_span_id(), sampled)


def new_span_id() -> str:
    """A new span's name."""
    return f"{_bits(64):016x}"


def _bits(count: int) -> int:
    """Random bits, not all of them 0. They name and hide nothing, so they need not be unforeseeable."""
    return random.getrandbits(count) or 1
