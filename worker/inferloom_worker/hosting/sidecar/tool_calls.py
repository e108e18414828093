"""Which call of a tool a server's part belongs to. Pure."""

from dataclasses import dataclass

import orjson

from inferloom.v1 import inference_pb2 as pb
from inferloom_worker.engines.sidecar import reading
from inferloom_worker.engines.sidecar.sse import MalformedError

MOST_CALLS = 1024
"""Tool calls of one choice."""

_MOST_PARTS = 2 * MOST_CALLS
MOST_KEPT = 2**16
"""Characters of a call's arguments that are kept to tell whether they are whole; longer ones are not."""


@dataclass(slots=True)
class _Call:
    index: int
    id: str
    name: str
    arguments: str = ""


def is_whole(arguments: str) -> bool:
    """Whether a call's arguments are all there."""
    if not arguments.rstrip().endswith(("}", "]")):
        return False
    try:
        orjson.loads(arguments)
    except orjson.JSONDecodeError:
        return False
    return True


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
        if len(call.arguments) <= MOST_KEPT:
            call.arguments += arguments
        part = pb.ToolCallDelta(index=call.index, arguments=arguments)
        if begins:
            part.id, part.name = id_, name
        return part


def _another(call: _Call, id_: str, name: str) -> bool:
    if id_ and call.id:
        return id_ != call.id
    return name != call.name or is_whole(call.arguments)
