"""Tools in namespaces, which a model knows by longer names: ``crm`` and ``find`` are its ``crm__find``."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from inferloom_gateway.http.schema.response_tools import CalledTool, ResponseTool
from inferloom_gateway.http.translate.tool_names import Names
from inferloom_gateway.http.translate.tools import missing
from inferloom_mesh.errors import invalid
from inferloom_mesh.tool_name import LONGEST_TOOL_NAME

_BETWEEN = "__"


@dataclass(frozen=True, slots=True)
class Placed:
    """A tool that can be called."""

    place: str
    """What the caller calls it: ``tools[1]``, or ``tools[2].tools[0]`` in a namespace."""
    name: str
    """What the model calls it."""
    description: str
    tool: ResponseTool | CalledTool


def called(namespace: str | None, name: str) -> str:
    """What the model calls a tool."""
    return f"{namespace}{_BETWEEN}{name}" if namespace else name


def flat(given: Sequence[ResponseTool] | None) -> Iterator[Placed]:
    """All tools that can be called; what a namespace is for stands before the description of its first.

    Raises:
        InferloomError: A namespace has no tools, a name becomes too long, or two tools get the same one.
    """
    taken = Names()
    for index, tool in enumerate(given or ()):
        place = f"tools[{index}]"
        if tool.type != "namespace":
            taken.add(place, tool.name, tool.type)
            yield Placed(place, tool.name, tool.description or "", tool)
            continue
        if tool.tools is None:
            raise missing(f"{place}.tools")
        for at, inner in enumerate(tool.tools):
            where, name = f"{place}.tools[{at}]", called(tool.name, inner.name)
            if len(name) > LONGEST_TOOL_NAME:
                param = f"{where}.name"
                message = f"with its namespace, as {name}, it has more than {LONGEST_TOOL_NAME} characters."
                raise invalid(param, f"Invalid '{param}': {message}")
            taken.add(where, name, inner.type, tool.name)
            words = [tool.description if at == 0 else None, inner.description]
            yield Placed(where, name, "\n\n".join(word for word in words if word), inner)


def names(tools: Sequence[Mapping[str, Any]]) -> dict[str, tuple[str, str]]:
    """The namespaces and names of tools in namespaces, of those that a response repeats, by what the model
    calls them."""
    return {
        called(tool["name"], inner["name"]): (tool["name"], inner["name"])
        for tool in tools
        if tool["type"] == "namespace"
        for inner in tool["tools"]
    }
