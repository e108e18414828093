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
        self.pieces: list[str] = []

    @property
    def text(self) -> str:
        """What it has so far."""
        return "".join(self.pieces)

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

    def event(self, kind: str, **more: Any) -> Event:
        """An event that tells of it."""
        return {"type": f"response.{kind}", "item_id": self.name, "output_index": self.index, **more}


class _WithPart(Growing):
    """An item with one part of content."""

    def _opened(self) -> Iterator[Event]:
        yield self.event("content_part.added", content_index=0, part=self._part("", []))

    def _part_done(self) -> Event:
        return self.event("content_part.done", content_index=0, part=self._part(self.text, self._logprobs()))

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
        self.pieces.append(text)
        self._entries.extend(logprobs)
        return self.event("output_text.delta", content_index=0, delta=text, logprobs=bare(logprobs))

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
        yield self.event("output_text.done", content_index=0, text=self.text, logprobs=bare(self._entries))
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
        self.pieces.append(text)
        return self.event("reasoning_text.delta", content_index=0, delta=text)

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
        yield self.event("reasoning_text.done", content_index=0, text=self.text)
        yield self._part_done()

    def _part(self, text: str, logprobs: list[Entry]) -> Item:
        return {"type": "reasoning_text", "text": text}
