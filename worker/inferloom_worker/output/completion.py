"""One Generate call after its engine accepted it: token events become the contract's events."""

from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from inferloom.v1 import inference_pb2 as pb
from inferloom_mesh.durations import duration
from inferloom_worker.engine.events import EndReason, Event, Phase, ProgressEvent, PromptEvent, TokensEvent
from inferloom_worker.engine.protocol import Generation
from inferloom_worker.output.finishing import finished
from inferloom_worker.output.news import News, Piece
from inferloom_worker.output.parsing import PLAIN, Kind, Reading, Said, Stretch
from inferloom_worker.output.pipeline import Pipeline
from inferloom_worker.output.prompt import PromptReport
from inferloom_worker.output.replay import Replayed
from inferloom_worker.output.spelled import token_logprob
from inferloom_worker.text.tokenizer import Tokenizer
from inferloom_worker.validate.generate import Stopping

_PHASES = {
    Phase.QUEUED: pb.HEARTBEAT_PHASE_QUEUED,
    Phase.PREFILL: pb.HEARTBEAT_PHASE_PREFILL,
    Phase.PREEMPTED: pb.HEARTBEAT_PHASE_PREEMPTED,
}


@dataclass(slots=True)
class _Choice:
    """One choice."""

    pipeline: Pipeline
    ended: bool = False


@dataclass(slots=True)
class PlainDelta:
    """A Delta that has no more than tokens and text."""

    choice: int
    index: int
    """Place of its first token."""
    ids: Sequence[int]
    text: str


Item = PlainDelta | pb.GenerateResponse
"""One event of an answer."""


def response_of(plain: PlainDelta) -> pb.GenerateResponse:
    """A Delta as a message."""
    response = pb.GenerateResponse()
    delta = response.delta  # field by field: half the time of the constructors
    delta.choice, delta.token_index, delta.text = plain.choice, plain.index, plain.text
    delta.token_ids.extend(plain.ids)
    return response


def delta_of(
    choice: int,
    place: int,
    ids: Sequence[int],
    stretch: Stretch | None,
    logprobs: Iterable[pb.TokenLogprob] | None = None,
) -> Item:
    """A Delta: tokens from a place on, their log-probabilities, where there are any, and what they say."""
    kind = Kind.TEXT if stretch is None else stretch.kind
    text = stretch.text if stretch is not None and kind is Kind.TEXT else ""
    plain = PlainDelta(choice, place, ids, text)
    if kind is Kind.TEXT and logprobs is None:
        return plain
    response = response_of(plain)
    if stretch is not None and kind is Kind.REASONING:
        response.delta.reasoning = stretch.text
    elif stretch is not None:
        response.delta.tool_calls.extend(stretch.calls)
    response.delta.logprobs.extend(logprobs or ())
    return response


class Completion:
    """Turns an engine's events into responses: text decoded, stop strings cut, each Delta of
    one kind.

    Args:
        generation: The request, as submitted.
        tokenizer: Knows the tokens' text.
        stopping: When a choice ends, beside what its engine ends.
        prompt_tokens: Tokens of its prompt.
        n: How many choices it has.
        parsers: Makes what reads a choice's text.
        prompt: What is told of the prompt. None: nothing.
        echo: The Deltas that repeat it, which come after that.
        skip_special_tokens: Whether special tokens have no text.
        replayed: The choices that go on from tokens which another worker committed.
    """

    def __init__(
        self,
        generation: Generation,
        tokenizer: Tokenizer,
        stopping: Stopping,
        prompt_tokens: int,
        n: int,
        reading: Reading = PLAIN,
        *,
        prompt: PromptReport | None = None,
        echo: Sequence[pb.GenerateResponse] = (),
        skip_special_tokens: bool = True,
        replayed: Mapping[int, Replayed] | None = None,
    ) -> None:
        self._generation = generation
        self._tokenizer = tokenizer
        self._stopping = stopping
        self._prompt_tokens = prompt_tokens
        self._hidden = tokenizer.special_ids if skip_special_tokens else frozenset()
        self._choices: list[_Choice] = []
        self._ended: list[pb.Finished] = []
        """Ends of choices that came with all of their tokens."""
        for choice in range(n):
            if replayed and (at := replayed.get(choice)) is not None:
                self._choices.append(_Choice(at.pipeline, ended=at.finished is not None))
                if at.finished is not None and not at.told:
                    self._ended.append(at.finished)
            else:
                self._choices.append(
                    _Choice(make_pipeline(choice, tokenizer, stopping, reading, self._hidden))
                )
        self._accepted = self._rejected = 0
        self._prompt = prompt
        self._echo = echo
        self._early: list[Event] = []
        """Tokens of other choices, which may come before the first choice's prompt is read."""

    def opening(self) -> Iterator[pb.GenerateResponse]:
        """What can be said before the engine has said anything."""
        if self._prompt is not None:
            yield from self._prompt.opening()
        if self._prompt is None or self._prompt.complete:
            self._prompt = None
            yield from self._echo
        for ended in self._ended:
            yield pb.GenerateResponse(finished=ended)

    def take(self, batch: Sequence[Event]) -> Iterator[pb.GenerateResponse]:
        """The responses for one batch of events, each made when it is asked for."""
        for item in self._items(batch):
            yield response_of(item) if isinstance(item, PlainDelta) else item

    def read(self, batch: Sequence[Event]) -> Sequence[Item]:
        """The same, with no more made of plain text than it takes. Most batches are one token of one
        choice."""
        if len(batch) == 1 and self._prompt is None:
            event = batch[0]
            if isinstance(event, TokensEvent) and event.end is None and event.logprobs is None:
                choice = self._choices[event.choice]
                pipeline = choice.pipeline
                if pipeline.plain and not choice.ended:
                    self._accepted += event.accepted
                    self._rejected += event.rejected
                    index = pipeline.tokens
                    return (
                        PlainDelta(
                            event.choice, index, event.token_ids, pipeline.push_plain(event.token_ids)
                        ),
                    )
        return list(self._items(batch))

    @property
    def reports_prompt(self) -> bool:
        """Whether there is something left to be told of the prompt."""
        return self._prompt is not None

    def _items(self, batch: Sequence[Event]) -> Iterator[Item]:
        if self._prompt is not None:
            batch = yield from self._read_prompt(self._prompt, batch)
        news: dict[int, News] = {}
        progress: ProgressEvent | None = None
        for event in batch:
            if isinstance(event, ProgressEvent):
                progress = event
            elif isinstance(event, TokensEvent) and not (choice := self._choices[event.choice]).ended:
                before = choice.pipeline.tokens
                if event.choice not in news:
                    apart = event.logprobs is not None and choice.pipeline.parsed
                    news[event.choice] = News(before, apart=apart)
                self._add(event, choice, news[event.choice])
                # A stop string in the middle of a draft makes the rest of it worthless.
                accepted = min(event.accepted, choice.pipeline.tokens - before)
                self._accepted += accepted
                self._rejected += event.accepted + event.rejected - accepted
        if progress is not None and not news:
            yield _heartbeat(progress)
        for index, found in news.items():
            for piece in found.pieces:
                entries = self._logprobs(piece) if piece.logprobs else None
                yield delta_of(index, piece.place, piece.ids, piece.stretch, entries)
            if found.finished is not None:
                yield pb.GenerateResponse(finished=found.finished)

    def _read_prompt(
        self, report: PromptReport, batch: Sequence[Event]
    ) -> Generator[pb.GenerateResponse, None, Sequence[Event]]:
        """Tell what was found out of the prompt, and give back what there is to say after it."""
        rest: list[Event] = []
        for event in batch:
            if isinstance(event, PromptEvent):
                yield from report.take(event)
            else:
                rest.append(event)
        if report.complete:
            self._prompt = None
            yield from self._echo
            return [*self._early, *rest]
        self._early += (event for event in rest if isinstance(event, TokensEvent))
        return [event for event in rest if not isinstance(event, TokensEvent)]

    def completed(self) -> pb.GenerateResponse:
        """The last response."""
        stats = self._generation.stats
        usage = pb.Usage(
            prompt_tokens=self._prompt_tokens,
            cached_prompt_tokens=stats.cached_prompt_tokens,
            completion_tokens=sum(choice.pipeline.tokens for choice in self._choices),
            reasoning_tokens=sum(choice.pipeline.reasoning_tokens for choice in self._choices),
            accepted_draft_tokens=self._accepted,
            rejected_draft_tokens=self._rejected,
        )
        timings = pb.Timings(
            queue=duration(stats.queue_s),
            prefill=duration(stats.prefill_s),
            decode=duration(stats.decode_s),
        )
        return pb.GenerateResponse(completed=pb.Completed(usage=usage, timings=timings))

    def _add(self, event: TokensEvent, choice: _Choice, news: News) -> None:
        pipeline, last = choice.pipeline, len(event.token_ids) - 1
        if pipeline.plain and event.token_ids and event.end is None and event.logprobs is None:
            news.add_plain(event.token_ids, pipeline.push_plain(event.token_ids))
            return
        # A stop token has no text unless it was asked for.
        hides = event.end is EndReason.STOP_TOKEN and not self._stopping.include_stop
        cut = event.end in (EndReason.LENGTH, EndReason.DEADLINE)
        for offset, token in enumerate(event.token_ids):
            said, hidden = Said(), hides and offset == last
            pipeline.push(token, said, hidden=hidden)
            over = pipeline.matched is not None or pipeline.done
            if offset == last and event.end is not None and not over:
                pipeline.finish(said, cut=cut)
            logprobs = None if event.logprobs is None else event.logprobs[offset]
            news.add(token, said, logprobs, hides=hidden)
            if over:
                self._finish(event, choice, news)
                return
        if event.end is not None:
            if not event.token_ids:
                rest = Said()
                pipeline.finish(rest, cut=cut)
                news.end(rest)
            self._finish(event, choice, news, event.end)

    def _finish(self, event: TokensEvent, choice: _Choice, news: News, end: EndReason | None = None) -> None:
        """End a choice: as its engine did, or by what was read of its text."""
        choice.ended = True
        if end is None or choice.pipeline.matched is not None:
            self._generation.abort(event.choice)
        last = event.token_ids[-1] if event.token_ids else None
        news.finished = finished(event.choice, choice.pipeline, self._stopping, end, last)

    def _logprobs(self, piece: Piece) -> Iterator[pb.TokenLogprob]:
        last = len(piece.ids) - 1
        for index, (token, at) in enumerate(zip(piece.ids, piece.logprobs, strict=True)):
            no_text = (index == last and piece.hides) or token in self._hidden
            yield token_logprob(self._tokenizer, token, at, no_text=no_text)


def make_pipeline(
    choice: int, tokenizer: Tokenizer, stopping: Stopping, reading: Reading, hidden: frozenset[int]
) -> Pipeline:
    """The way of a choice's tokens; those that are ``hidden`` have no text, but for what is read of them."""
    return Pipeline(
        tokenizer,
        stopping,
        reading.parsers(choice),
        hidden=hidden - reading.shown,
        calls_only=reading.calls_only,
    )


def _heartbeat(progress: ProgressEvent) -> pb.GenerateResponse:
    return pb.GenerateResponse(
        heartbeat=pb.Heartbeat(phase=_PHASES[progress.phase], prefilled_tokens=progress.prefilled_tokens)
    )
