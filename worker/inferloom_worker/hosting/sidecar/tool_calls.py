"""Which call of a tool a server's part belongs to. Pure."""

import re
from dataclasses import dataclass, field

from inferloom.v1 import inference_pb2 as pb
from inferloom_worker.engines.sidecar import reading
from inferloom_worker.engines.sidecar.sse import MalformedError

MOST_CALLS = 1024
"""Tool calls of one choice."""

_MOST_PARTS = 2 * MOST_CALLS

_SIGN = re.compile(r'\\.?|["{}\[\]]', re.DOTALL)


class Arguments:
    """How far a call's arguments have come. They are JSON, of which nothing is kept."""

    __slots__ = ("_amid_escape", "_amid_string", "_depth", "are_whole")

    def __init__(self) -> None:
        self._depth = 0
        self._amid_string = False
        self._amid_escape = False
        """Whether they end with the first half of one."""
        self.are_whole = False
        """Whether an object or a list is all there, and nothing is behind it."""

    @property
    def are_open(self) -> bool:
        """Whether something of them has begun that has no end yet."""
        return self._depth > 0 or self._amid_string

    def add(self, text: str) -> None:
        """Go on with this much more."""
        if not text:
            return
        first, behind = int(self._amid_escape), 0
        self._amid_escape = False
        for found in _SIGN.finditer(text, first):
            sign = found[0]
            if sign[0] == "\\":
                self._amid_escape = len(sign) == 1
            elif sign == '"':
                self._amid_string = not self._amid_string
            elif self._amid_string:
                continue
            elif sign in "{[":
                self._depth += 1
                self.are_whole = False
            else:
                self._depth = max(self._depth - 1, 0)
                self.are_whole, behind = self._depth == 0, found.end()
        self.are_whole = self.are_whole and not text[behind:].strip()


@dataclass(slots=True)
class _Call:
    index: int
    id: str
    name: str
    arguments: Arguments = field(default_factory=Arguments)


class ToolCalls:
    """The calls of one choice.

    Servers tell the index of a call or leave it out, count it from any number, or give every call the same;
    some repeat id and name in every part, some make up an id for each. So a call begins with a part that has
    a name, and an id that is new; without an id, a name that is another or comes after whole arguments.
    """

    def __init__(self) -> None:
        self.count = 0
        self._open: dict[int, _Call] = {}
        """The last one of each index of the server's."""
        self._by_id: dict[tuple[int, str], _Call] = {}

    def read(self, told: object) -> list[pb.ToolCallDelta]:
        """The parts that a chunk has, under our own indices. Raises MalformedError."""
        parts = reading.items(told, "tool_calls", _MOST_PARTS)
        return [self._part(place, reading.obj(each, "a tool call")) for place, each in enumerate(parts)]

    def _part(self, place: int, told: reading.Object) -> pb.ToolCallDelta:
        function = reading.obj(told.get("function"), "a function")
        given = told.get("index")
        at = place if given is None else reading.count(given, "a tool call's index")
        id_ = reading.text(told.get("id"), "a tool call's id")
        name = reading.text(function.get("name"), "a function's name")
        arguments = reading.text(function.get("arguments"), "arguments")
        call = self._by_id.get((at, id_)) or self._open.get(at)
        begins = call is None or (bool(name) and _another(call, id_, name))
        if call is None or begins:
            if self.count >= MOST_CALLS:
                raise MalformedError(f"over {MOST_CALLS} tool calls")
            if not name:
                raise MalformedError("a tool call without a name")
            call = _Call(self.count, id_, name)
            self.count += 1
            self._open[at] = call
            if id_:
                self._by_id[at, id_] = call
        call.arguments.add(arguments)
        part = pb.ToolCallDelta(index=call.index, arguments=arguments)
        if begins:
            part.id, part.name = id_, name
        return part


def _another(call: _Call, id_: str, name: str) -> bool:
    if id_ and call.id:
        return id_ != call.id
    return name != call.name or call.arguments.are_whole
