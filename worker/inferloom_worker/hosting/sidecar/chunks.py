"""A server's chunks become the contract's events. Pure: bytes of events in, items of an answer out."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from inferloom.v1 import inference_pb2 as pb
from inferloom_worker.engines.sidecar import reading
from inferloom_worker.engines.sidecar.failures import gave_up, in_stream
from inferloom_worker.engines.sidecar.sse import MalformedError
from inferloom_worker.hosting.sidecar.logprobs import logprobs
from inferloom_worker.hosting.sidecar.order import Order
from inferloom_worker.hosting.sidecar.tool_calls import ToolCalls
from inferloom_worker.output.completion import Item, delta_of
from inferloom_worker.output.parsing import Said

DONE = b"[DONE]"

_PROMPT_PART = 2**17
"""Token ids of the prompt in one event: below a megabyte."""

_REASONS = {
    "length": pb.FINISH_REASON_LENGTH,
    "tool_calls": pb.FINISH_REASON_TOOL_CALLS,
    "function_call": pb.FINISH_REASON_TOOL_CALLS,
}
_BROKEN = ("abort", "error")
"""Finish reasons of an answer that the server did not end as it should."""


@dataclass(slots=True)
class _Choice:
    tokens: int = 0
    """Those whose ids or log-probabilities came."""
    events: int = 0
    """Events with something in them."""
    calls: ToolCalls = field(default_factory=ToolCalls)
    order: Order = field(default_factory=Order)
    finished: pb.Finished | None = None
    reasoned: int = 0
    """Events with reasoning."""


class Chunks:
    """Reads the chunks of one answer.

    Ends of choices are held back until the usage has come, which has the number of their tokens where the
    server tells no ids.

    Args:
        n: Choices.
        top: Alternatives with log-probabilities. None: none are wanted.
        tell_prompt: Whether the prompt's ids are to be told.
        stop_token_ids, stop_strings: Those that the caller ends a choice with.
    """

    def __init__(
        self,
        n: int,
        *,
        top: int | None = None,
        tell_prompt: bool = False,
        stop_token_ids: frozenset[int] = frozenset(),
        stop_strings: tuple[str, ...] = (),
    ) -> None:
        self._choices = [_Choice() for _ in range(n)]
        self._top = top
        self._tell_prompt = tell_prompt
        self._stop_token_ids = stop_token_ids
        self._stop_strings = stop_strings
        self._usage: pb.Usage | None = None
        self._told = False
        """Whether ends were told."""
        self.begun = False
        """Whether anything of an answer has come."""

    def read(self, data: bytes) -> list[Item]:
        """The items that one event's data comes to.

        Raises:
            InferloomError: The server says that it failed.
            MalformedError: It is none of the API.
        """
        chunk = reading.parsed(data)
        if chunk.get("error"):
            error = in_stream(data)
            if error is not None:
                raise error
        found: list[Item] = []
        if self._tell_prompt and (ids := _prompt_ids(chunk)):
            self._tell_prompt = False
            for first in range(0, len(ids), _PROMPT_PART):
                part = pb.Prompt(token_index=first, token_ids=ids[first : first + _PROMPT_PART])
                found.append(pb.GenerateResponse(prompt=part))
        for each in reading.items(chunk.get("choices"), "choices", 2 * len(self._choices) + 8):
            found += self._choice(reading.obj(each, "a choice"), chunk)
        if chunk.get("usage") is not None:
            self._usage = _usage(reading.obj(chunk["usage"], "usage"))
        return found

    def end(self) -> list[Item]:
        """The ends of all choices; to be called when the stream has ended.

        Raises:
            MalformedError: A choice has no end.
        """
        if any(choice.finished is None for choice in self._choices):
            raise MalformedError("an answer that stops in the middle")
        return [*self.ends()]

    def ends(self) -> Iterator[pb.GenerateResponse]:
        """Tell the ends that have come."""
        one = len(self._choices) == 1
        for choice in self._choices:
            if choice.finished is not None:
                choice.finished.completion_tokens = self._tokens(choice, one=one)
                yield pb.GenerateResponse(finished=choice.finished)

    def cut(self, reason: pb.FinishReason.ValueType) -> Iterator[Item]:
        """End every choice that has no end; what was left to tell of it."""
        for index, choice in enumerate(self._choices):
            if choice.finished is None:
                choice.finished = pb.Finished(choice=index, reason=reason)
                yield from _deltas(index, choice.tokens, choice.order.rest())

    @property
    def usage(self) -> pb.Usage:
        """What the answer used; where the server does not tell, as far as can be counted."""
        if self._usage is not None:
            return self._usage
        return pb.Usage(completion_tokens=sum(self._tokens(choice, one=False) for choice in self._choices))

    @property
    def tokens(self) -> int:
        """Tokens that were told."""
        return sum(choice.tokens for choice in self._choices)

    def _tokens(self, choice: _Choice, *, one: bool) -> int:
        if choice.tokens:
            return choice.tokens
        return self._usage.completion_tokens if one and self._usage is not None else choice.events

    def _choice(self, told: Mapping[str, Any], chunk: Mapping[str, Any]) -> Iterator[Item]:
        index = reading.count(told.get("index"), "a choice's index")
        if index >= len(self._choices):
            raise MalformedError(f"a choice {index} of {len(self._choices)}")
        choice = self._choices[index]
        if choice.finished is not None:
            return  # what follows an end is no answer
        delta = reading.obj(told.get("delta"), "a delta")
        text = reading.text(delta.get("content", told.get("text")), "content")
        reasoning = reading.text(delta.get("reasoning_content") or delta.get("reasoning"), "reasoning")
        ids = reading.token_ids(told.get("token_ids"))
        verbose = reading.obj(chunk.get("__verbose"), "__verbose")
        ids = ids or reading.token_ids(verbose.get("tokens"))
        calls = choice.calls.read(delta.get("tool_calls"))
        entries = []
        if self._top is not None and told.get("logprobs") is not None:
            entries = logprobs(told["logprobs"], ids, self._top)
            if not ids and all(entry.token_id for entry in entries):
                ids = [entry.token_id for entry in entries]
        if text or reasoning or ids or calls or entries:
            at, choice.tokens = choice.tokens, choice.tokens + (len(ids) or len(entries))
            choice.events += 1
            choice.reasoned += bool(reasoning)
            self.begun = True
            said = Said()
            said.add_reasoning(reasoning)
            said.add_text(text)
            for part in calls:
                said.add_call(part)
            yield from _deltas(index, at, choice.order.take(said), ids, entries)
        if told.get("finish_reason") is not None:
            choice.finished = self._finished(index, choice, told, verbose)
            yield from _deltas(index, choice.tokens, choice.order.rest())

    def _finished(
        self, index: int, choice: _Choice, told: Mapping[str, Any], verbose: Mapping[str, Any]
    ) -> pb.Finished:
        reason = reading.text(told["finish_reason"], "a finish reason")
        if reason in _BROKEN:
            raise gave_up(reason)
        finished = pb.Finished(choice=index, reason=_REASONS.get(reason, pb.FINISH_REASON_STOP))
        if finished.reason == pb.FINISH_REASON_STOP and choice.calls.count:
            finished.reason = pb.FINISH_REASON_TOOL_CALLS
        elif finished.reason == pb.FINISH_REASON_STOP:
            stopped = told.get("stop_reason", told.get("matched_stop")) or verbose.get("stopping_word")
            if isinstance(stopped, str) and stopped in self._stop_strings:
                finished.stop_string = stopped
            elif isinstance(stopped, int) and stopped in self._stop_token_ids:
                finished.stop_token_id = stopped
        return finished


def _deltas(
    choice: int,
    place: int,
    said: Said,
    ids: Sequence[int] = (),
    entries: Sequence[pb.TokenLogprob] = (),
) -> Iterator[Item]:
    """What is told of a choice, as Deltas of one kind each; the last of them has the tokens."""
    *before, last = said.stretches or (None,)
    for stretch in before:
        yield delta_of(choice, place, (), stretch)
    if ids or entries or last is not None:
        yield delta_of(choice, place, ids, last, entries or None)


def _prompt_ids(chunk: Mapping[str, Any]) -> list[int]:
    if chunk.get("prompt_token_ids") is not None:
        return reading.token_ids(chunk["prompt_token_ids"])
    for each in chunk.get("choices") or ():
        if isinstance(each, dict) and each.get("prompt_token_ids") is not None:
            return reading.token_ids(each["prompt_token_ids"])
    return []


def _usage(told: Mapping[str, Any]) -> pb.Usage:
    prompt = reading.obj(told.get("prompt_tokens_details"), "details")
    completion = reading.obj(told.get("completion_tokens_details"), "details")
    drafts = ("accepted_prediction_tokens", "rejected_prediction_tokens")
    accepted, rejected = (reading.count(completion.get(name), name) for name in drafts)
    return pb.Usage(
        prompt_tokens=reading.count(told.get("prompt_tokens"), "prompt_tokens"),
        cached_prompt_tokens=reading.count(prompt.get("cached_tokens"), "cached_tokens"),
        completion_tokens=reading.count(told.get("completion_tokens"), "completion_tokens"),
        reasoning_tokens=reading.count(completion.get("reasoning_tokens"), "reasoning_tokens"),
        accepted_draft_tokens=accepted,
        rejected_draft_tokens=rejected,
    )
