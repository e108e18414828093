"""What is told of a prompt, before the first token after it: its token ids and how likely they are."""

from collections.abc import Iterator, Sequence

from inferloom.v1 import inference_pb2 as pb
from inferloom_worker.engine.events import PromptEvent, TokenLogprobs
from inferloom_worker.output.spelled import token_logprob
from inferloom_worker.text.tokenizer import Tokenizer

MOST_IDS = 2**16
"""Token ids of one part: at most 320 KiB."""

MOST_ENTRIES = 1024
"""Tokens and alternatives of one part: about 100 KiB, which take a few milliseconds to make."""

LONGEST_PART = 2**20
"""Bytes of a part that has more than one token."""


class PromptReport:
    """Makes the Prompt events of one request.

    Args:
        tokenizer: Knows the tokens' text.
        ids: The prompt's tokens.
        text: Its text. Empty: the tokens' own.
        top: Alternatives that are wanted at each token. None: only ids are told.
    """

    def __init__(self, tokenizer: Tokenizer, ids: Sequence[int], text: str, top: int | None) -> None:
        self._tokenizer = tokenizer
        self._ids = ids
        self._top = top
        self._told = 0
        self._silent = frozenset[int]() if top is None else _without_text(tokenizer, ids, text)

    @property
    def complete(self) -> bool:
        """Whether all of the prompt was told."""
        return self._told == len(self._ids)

    def opening(self) -> Iterator[pb.GenerateResponse]:
        """What can be told before the engine has read anything."""
        if self._top is not None:
            if len(self._ids) == 1:
                yield from self._entries([None])
            return
        for start in range(0, len(self._ids), MOST_IDS):
            part = pb.Prompt(token_index=start, token_ids=self._ids[start : start + MOST_IDS])
            self._told += len(part.token_ids)
            yield pb.GenerateResponse(prompt=part)

    def take(self, event: PromptEvent) -> Iterator[pb.GenerateResponse]:
        """The parts that tell what an engine found out."""
        yield from self._entries([None] * (self._told == 0) + list(event.logprobs))

    def _entries(self, found: Sequence[TokenLogprobs | None]) -> Iterator[pb.GenerateResponse]:
        part, size = pb.Prompt(token_index=self._told), 0
        most = max(1, MOST_ENTRIES // (1 + (self._top or 0)))
        for at in found:
            token = self._ids[self._told]
            entry = token_logprob(self._tokenizer, token, at, no_text=self._told in self._silent)
            size += entry.ByteSize() + 16
            if part.token_ids and (size > LONGEST_PART or len(part.token_ids) == most):
                yield pb.GenerateResponse(prompt=part)
                part, size = pb.Prompt(token_index=self._told), entry.ByteSize() + 16
            part.token_ids.append(token)
            part.logprobs.append(entry)
            self._told += 1
        yield pb.GenerateResponse(prompt=part)


def _without_text(tokenizer: Tokenizer, ids: Sequence[int], text: str) -> frozenset[int]:
    """The places of tokens that the tokenizer put around the text, and that are not in it."""
    silent: set[int] = set()
    if not text:
        return frozenset()
    for place, has in ((0, text.startswith), (len(ids) - 1, text.endswith)):
        if ids[place] in tokenizer.special_ids and not has(tokenizer.token_text(ids[place])):
            silent.add(place)
    return frozenset(silent)
