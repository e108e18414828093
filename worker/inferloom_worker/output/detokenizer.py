"""Text from tokens as they come: what is sent is never taken back, and never half a character."""

import codecs
from typing import Protocol

from inferloom_worker.text.tokenizer import Tokenizer

_REPLACEMENT = "\ufffd"


class TextStream(Protocol):
    """Decodes the tokens of one completion, in order. Hidden ones have no text."""

    def push(self, token_id: int) -> str:
        """The text that became final with this token; may be empty."""
        ...

    def flush(self) -> str:
        """The rest, when no token follows: incomplete characters as U+FFFD."""
        ...


def text_stream(tokenizer: Tokenizer, hidden: frozenset[int] | None = None) -> TextStream:
    """A stream for one completion. ``hidden`` are the tokens without text; None: the special ones."""
    hidden = tokenizer.special_ids if hidden is None else hidden
    return ByteStream(tokenizer, hidden) if tokenizer.joins_bytes else WindowStream(tokenizer, hidden)


class ByteStream:
    """For vocabularies of bytes: constant work per token, and a genuine U+FFFD is told from a half character.

    A completion goes on from its prompt, so a space at its start is kept.
    """

    __slots__ = ("_bytes", "_inside", "_skipped", "_tokenizer")

    def __init__(self, tokenizer: Tokenizer, hidden: frozenset[int]) -> None:
        self._tokenizer = tokenizer
        self._skipped = hidden
        self._bytes = codecs.getincrementaldecoder("utf-8")("replace")
        self._inside = False
        """Whether the tokens so far end inside a character."""

    def push(self, token_id: int) -> str:
        if token_id in self._skipped:
            return ""
        data = self._tokenizer.token_bytes(token_id)
        if not self._inside and data.isascii():
            return data.decode()
        text = self._bytes.decode(data)
        self._inside = bool(self._bytes.getstate()[0])
        return text

    def flush(self) -> str:
        return self._bytes.decode(b"", final=True)


class WindowStream:
    """For any other vocabulary: decodes the last few tokens with and without the new one.

    The window starts at a token whose text has been sent, so that what a decoder puts between two tokens
    (a space, say) is seen.
    """

    __slots__ = ("_context", "_fresh", "_skipped", "_tokenizer")

    def __init__(self, tokenizer: Tokenizer, hidden: frozenset[int]) -> None:
        self._tokenizer = tokenizer
        self._skipped = hidden
        self._context: list[int] = []
        self._fresh: list[int] = []

    def push(self, token_id: int) -> str:
        if token_id in self._skipped:
            return ""
        self._fresh.append(token_id)
        return self._take(final=False)

    def flush(self) -> str:
        return self._take(final=True) if self._fresh else ""

    def _take(self, *, final: bool) -> str:
        before = self._decode(self._context)
        after = self._decode(self._context + self._fresh)
        if not final and (len(after) <= len(before) or after.endswith(_REPLACEMENT)):
            return ""
        self._context, self._fresh = self._fresh, []
        return after[len(before) :]

    def _decode(self, ids: list[int]) -> str:
        return self._tokenizer.decode(ids, skip_special_tokens=False)
