"""Calls among the items of an output, while they grow."""

from collections.abc import Iterator

from inferloom_gateway.http.translate.responses.items import Item
from inferloom_gateway.http.translate.responses.parts import Event, Growing


class Call(Growing):
    """A call of a function, which may be one of a namespace."""

    kind = "function_call"
    _told = "function_call_arguments"
    _field = "arguments"

    def __init__(self, name: str, index: int, call_id: str, tool: str, namespace: str = "") -> None:
        super().__init__(name, index)
        self._call_id = call_id
        self._tool = tool
        self._namespace = namespace

    def more(self, text: str) -> Event:
        """Add to the arguments."""
        self.pieces.append(text)
        return self.event(f"{self._told}.delta", delta=text)

    def item(self, status: str) -> Item:
        """A call."""
        return {
            "id": self.name,
            "type": self.kind,
            "status": status,
            "call_id": self._call_id,
            "name": self._tool,
            self._field: self.text,
            **({"namespace": self._namespace} if self._namespace else {}),
        }

    def _closed(self) -> Iterator[Event]:
        yield self.event(f"{self._told}.done", **{self._field: self.text}, name=self._tool)


class CustomCall(Call):
    """A call of a custom tool, whose input is text."""

    kind = "custom_tool_call"
    _told = "custom_tool_call_input"
    _field = "input"

    def item(self, status: str) -> Item:
        """A call, which has no status of its own."""
        return {key: value for key, value in super().item(status).items() if key != "status"}

    def _closed(self) -> Iterator[Event]:
        yield self.event(f"{self._told}.done", input=self.text)
