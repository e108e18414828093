"""A query and a document as one sequence of tokens."""

from collections.abc import Sequence
from dataclasses import dataclass

from tokenizers import Encoding

from inferloom_mesh.errors import InferloomError, Reason
from inferloom_mesh.named_fields import named
from inferloom_worker.text.tokenizer import Tokenizer
from inferloom_worker.validate.rerank import RankingRequest

_BEYOND = 16
"""Tokens of a text that are read past those that are kept, so that these are as in the whole text."""


@dataclass(frozen=True, slots=True)
class Pair:
    """What a model reads of a query and a document."""

    ids: Sequence[int]
    segments: Sequence[int]
    """Of each token, whether it is of the query (0) or of the document (1), as the tokenizer says."""

    def __len__(self) -> int:
        return len(self.ids)


class PairReader:
    """Puts two texts together with the tokenizer's special tokens around and between them. Callable from any
    thread.

    Args:
        tokenizer: The model's.
        max_tokens: Most tokens of both texts together, special tokens included.
        prompt: Text that the model wants before every query.
    """

    def __init__(self, tokenizer: Tokenizer, max_tokens: int, prompt: str = "") -> None:
        self.tokenizer = tokenizer
        self.max_tokens = max_tokens
        self._prompt = prompt

    def read(self, asked: RankingRequest) -> list[Pair]:
        """One pair per document. Blocking.

        Raises:
            InferloomError: CONTEXT_LENGTH_EXCEEDED at a document that is too long beside its query, and not
                to be cut.
        """
        encodings = self.tokenizer.encodings
        queries = [self._prompt + query for query in asked.queries]
        most, cuts = asked.limit(self.max_tokens)
        room = most - self.tokenizer.pair_tokens
        firsts = encodings(queries) * (1 if asked.each else len(asked.documents))
        pairs = []
        for index, (first, second) in enumerate(zip(firsts, encodings(asked.documents), strict=True)):
            kept = len(first), min(len(second), asked.max_document_tokens or len(second))
            if sum(kept) > room:
                if not cuts:
                    raise pair_too_long(index, sum(kept) + most - room, most)
                kept = longest_first(*kept, max(0, room))
            first = self._cut(queries[index if asked.each else 0], first, kept[0])
            second = self._cut(asked.documents[index], second, kept[1])
            pairs.append(_pair(self.tokenizer.joined(first, second)))
        return pairs

    def _cut(self, text: str, encoding: Encoding, tokens: int) -> Encoding:
        """The first ``tokens`` of a text; the other pairs' ``encoding`` of it stays whole.

        An encoding keeps all that it was cut of, in parts of that length, and joining two makes a pair of
        every part of the one and every part of the other. So the text is cut first: little is left to keep.
        """
        if len(encoding) <= tokens:
            return encoding
        place = encoding.token_to_chars(min(tokens + _BEYOND, len(encoding)) - 1)
        (near,) = self.tokenizer.encodings([text if place is None else text[: place[1]]])
        near.truncate(tokens)
        return near


def _pair(joined: Encoding) -> Pair:
    return Pair(joined.ids, joined.type_ids)


def pair_too_long(index: int, tokens: int, most: int) -> InferloomError:
    """The error for a document that cannot be read whole beside its query, in OpenAI's sentence."""
    where = f"documents[{index}]"
    return InferloomError(
        Reason.CONTEXT_LENGTH_EXCEEDED,
        f"This model's maximum context length is {most} tokens, however you requested {tokens} tokens (the "
        f"query and {named(where)}). Please reduce the length of the input.",
        param=where,
    )


def longest_first(first: int, second: int, room: int) -> tuple[int, int]:
    """How many tokens of two texts are kept, ``room`` in all: the longer loses first, down to the other's
    length, and then both, as the tokenizers library's strategy of that name has it.
    """
    if first + second <= room:
        return first, second
    less = min(first, second)
    if room - less >= less:
        return (first, room - first) if first <= second else (room - second, second)
    half = room // 2
    return (half, room - half) if first <= second else (room - half, half)
