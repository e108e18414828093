"""Output items while they grow: each knows the events that tell of it, and its final form."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from typing import Any

from inferloom_gateway.http.translate.responses.items import Item
from inferloom_gateway.http.translate.responses.logprobs import Entry, bare

Event = dict[str, Any]
"""A typed event without its number."""

Seal = Callable[[str], str]
"""Encrypts reasoning."""


class Growing(ABC):
    """One item of the output, from its first piece to its last."""

    kind: str

    def __init__(self, name: str, index: int) -> None:
        self.name = name
        self.index = index
        self.whole: Item = {}
        """The item, once it has ended."""
        self._pieces: list[str] = []

    @property
    def text(self) -> str:
        """What it has so far."""
        return "".join(self._pieces)

    def begin(self) -> Iterator[Event]:
        """The events before its first piece."""
        yield {
            "type": "response.output_item.added",
            "output_index": self.index,
            "item": self.item("in_progress"),
        }
        yield from self._opened()

    def end(self, status: str) -> Iterator[Event]:
        """The events after its last; ``status`` is ``completed`` or ``incomplete``."""
        yield from self._closed()
        self.whole = self.item(status)
        yield {"type": "response.output_item.done", "output_index": self.index, "item": self.whole}

    @abstractmethod
    def item(self, status: str) -> Item:
        """The item as it stands."""

    def _opened(self) -> Iterator[Event]:
        return iter(())

    @abstractmethod
    def _closed(self) -> Iterator[Event]:
        """The events that its content is whole."""

    def _event(self, kind: str, **more: Any) -> Event:
        return {"type": f"response.{kind}", "item_id": self.name, "output_index": self.index, **more}


class _WithPart(Growing):
    """An item with one part of content."""

    def _opened(self) -> Iterator[Event]:
        yield self._event("content_part.added", content_index=0, part=self._part("", []))

    def _part_done(self) -> Event:
        return self._event("content_part.done", content_index=0, part=self._part(self.text, self._logprobs()))

    def _logprobs(self) -> list[Entry]:
        return []

    @abstractmethod
    def _part(self, text: str, logprobs: list[Entry]) -> Item:
        """Its part with so much content."""

    def _content(self, status: str) -> list[Item]:
        return [] if status == "in_progress" else [self._part(self.text, self._logprobs())]


class Message(_WithPart):
    """What the model says."""

    kind = "message"

    def __init__(self, name: str, index: int) -> None:
        super().__init__(name, index)
        self._entries: list[Entry] = []

    def more(self, text: str, logprobs: list[Entry]) -> Event:
        """Add text, and the log-probabilities of its tokens."""
        self._pieces.append(text)
        self._entries.extend(logprobs)
        return self._event("output_text.delta", content_index=0, delta=text, logprobs=bare(logprobs))

    def item(self, status: str) -> Item:
        """A message."""
        return {
            "id": self.name,
            "type": "message",
            "status": status,
            "role": "assistant",
            "content": self._content(status),
        }

    def _closed(self) -> Iterator[Event]:
        yield self._event("output_text.done", content_index=0, text=self.text, logprobs=bare(self._entries))
        yield self._part_done()

    def _logprobs(self) -> list[Entry]:
        return self._entries

    def _part(self, text: str, logprobs: list[Entry]) -> Item:
        return {"type": "output_text", "text": text, "annotations": [], "logprobs": logprobs}


class Thought(_WithPart):
    """What the model reasons."""

    kind = "reasoning"

    def __init__(self, name: str, index: int, seal: Seal | None) -> None:
        super().__init__(name, index)
        self._seal = seal

    def more(self, text: str) -> Event:
        """Add text."""
        self._pieces.append(text)
        return self._event("reasoning_text.delta", content_index=0, delta=text)

    def item(self, status: str) -> Item:
        """A reasoning item, encrypted besides where that is asked for."""
        item = {
            "id": self.name,
            "type": "reasoning",
            "status": status,
            "summary": [],
            "content": self._content(status),
        }
        if self._seal is not None and status != "in_progress":
            item["encrypted_content"] = self._seal(self.text)
        return item

    def _closed(self) -> Iterator[Event]:
        yield self._event("reasoning_text.done", content_index=0, text=self.text)
        yield self._part_done()

    def _part(self, text: str, logprobs: list[Entry]) -> Item:
        return {"type": "reasoning_text", "text": text}


class Call(Growing):
    """A call of a function."""

    kind = "function_call"
    _told = "function_call_arguments"
    _field = "arguments"

    def __init__(self, name: str, index: int, call_id: str, tool: str) -> None:
        super().__init__(name, index)
        self._call_id = call_id
        self._tool = tool

    def more(self, text: str) -> Event:
        """Add to the arguments."""
        self._pieces.append(text)
        return self._event(f"{self._told}.delta", delta=text)

    def item(self, status: str) -> Item:
        """A call."""
        return {
            "id": self.name,
            "type": self.kind,
            "status": status,
            "call_id": self._call_id,
            "name": self._tool,
            self._field: self.text,
        }

    def _closed(self) -> Iterator[Event]:
        yield self._event(f"{self._told}.done", **{self._field: self.text}, name=self._tool)


class CustomCall(Call):
    """A call of a custom tool, whose input is text."""

    kind = "custom_tool_call"
    _told = "custom_tool_call_input"
    _field = "input"

    def item(self, status: str) -> Item:
        """A call, which has no status of its own."""
        return {key: value for key, value in super().item(status).items() if key != "status"}

    def _closed(self) -> Iterator[Event]:
        yield self._event(f"{self._told}.done", input=self.text)
