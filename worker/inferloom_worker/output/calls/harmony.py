"""Answers in channels, as gpt-oss writes them: reasoning, calls and text are messages with headers."""

import re

from inferloom_worker.output.calls.json_calls import JsonReader
from inferloom_worker.output.calls.offer import Offer
from inferloom_worker.output.calls.reader import NotACallError, Reading
from inferloom_worker.output.parsing import begun

MARKS = (
    *("<|start|>", "<|channel|>", "<|message|>", "<|constrain|>", "<|end|>"),
    *("<|call|>", "<|return|>"),
)
_RECIPIENT = re.compile(r"\bto=functions\.([A-Za-z0-9_-]+)")
_CHANNEL = re.compile(r"<\|channel\|>\s*([a-z]+)")
_ENDS = ("<|end|>", "<|call|>", "<|return|>", "<|start|>", "<|channel|>")
_LONGEST_HEADER = 256


class HarmonyReader(JsonReader):
    """``<|channel|>commentary to=functions.name <|constrain|>json<|message|>{…}<|call|>``, where the
    recipient may stand before the channel. What the channel ``analysis`` says to nobody is reasoning; all
    other messages are text, without their headers.
    """

    markers = ("<|start|>", "<|channel|>", "<|end|>", " to=functions.")
    ends = ("<|call|>", "<|end|>")
    silent = True

    def __init__(self, offer: Offer) -> None:
        super().__init__(offer)
        self.thinking = False
        """Whether the text so far ends within reasoning."""

    def _section(self) -> Reading[None]:
        if (yield from self._maybe("<|end|>")):
            self._kept = self._at
            return
        header = yield from self._header()
        recipient, channel = _RECIPIENT.search(header), _CHANNEL.search(header)
        if recipient is not None:
            yield from self._blank()
            yield from self._arguments(recipient[1])
            yield from self._maybe("<|call|>")
        elif channel is None:
            raise NotACallError
        elif channel[1] == "analysis":
            yield from self._reasoning()

    def _header(self) -> Reading[str]:
        start = self._at
        while (place := self._text.find("<|message|>", start)) < 0:
            if self._over or len(self._text) - start > _LONGEST_HEADER:
                raise NotACallError
            self._at = len(self._text)
            yield from self._more()
        if place - start > _LONGEST_HEADER:
            raise NotACallError
        self._at = place + len("<|message|>")
        return self._text[start:place]

    def _reasoning(self) -> Reading[None]:
        """Say reasoning as it comes, up to its end, which is left where it begins another message."""
        self.thinking = True
        while True:
            found = [place for end in _ENDS if (place := self._text.find(end, self._at)) >= 0]
            sure = min(found, default=len(self._text))
            if not found and not self._over:
                sure -= begun(self._text, self._at, _ENDS)
            self._said.add_reasoning(self._text[self._at : sure])
            self._at = self._kept = sure
            if found or self._over:
                self._streams = self.thinking = False
                return
            self._streams = True
            yield
