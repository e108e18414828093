"""The echo engine: deterministic, without a model, and cheap enough to measure everything around it."""

import asyncio
import heapq
import math
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from inferloom_mesh.errors import InferloomError
from inferloom_worker.engine.adapter import Adapter
from inferloom_worker.engine.events import EndReason, Event, Phase, ProgressEvent, TokenLogprobs, TokensEvent
from inferloom_worker.engine.health import Health, unloaded
from inferloom_worker.engine.mailbox import Mailbox, deliver_all
from inferloom_worker.engine.options import EngineOptions
from inferloom_worker.engine.protocol import EngineInfo, EngineLoad
from inferloom_worker.engine.queue_bound import QueueBound
from inferloom_worker.engine.request import GenerationRequest
from inferloom_worker.lora.config import AdapterError
from inferloom_worker.sourcing.echo_options import EchoOptions

HEARTBEAT_S = 1.0
"""How often a waiting request is told so."""

_Post = tuple[Mailbox, Event | InferloomError]


class EchoEngine:
    """An :class:`~inferloom_worker.engine.protocol.Engine` that repeats the prompt, over and over.

    It lives on the event loop, so everything but :meth:`load` and :meth:`close` is called there. As a model's
    engine it goes by steps, and hands over all that a step gave together. Without a delay, a step is for the
    requests whose reader has taken everything, so that it is as fast as it is read and no faster. With one,
    a first token comes after just that, and later ones with those of others, so that a request is late or
    early by half a delay at most.
    """

    def __init__(
        self,
        echo: EchoOptions,
        options: EngineOptions,
        vocab_size: int,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        context = min(echo.context, options.context_length or echo.context)
        self.info = EngineInfo(
            vocab_size=vocab_size,
            context_length=context,
            dtype="none",
            engine="echo",
            instruction_set="",
            slots=options.max_running,
            kv_tokens=options.max_running * context,
            weights_bytes=0,
            kv_bytes=0,
            lacks=frozenset({"prompt_logprobs", "allowed_token_ids", "bad_words", "prediction"}),
        )
        self.health = Health()
        self._echo = echo
        self._delay = echo.delay_ms / 1e3
        self._clock = clock
        self._closed = False
        self._generated = self._steps = 0
        self._bound = QueueBound(options.max_waiting, options.max_wait_s)
        self._running = 0
        self._waiting: deque[_Sequence] = deque()
        self._open: dict[Mailbox, _Sequence] = {}
        self._read: list[_Sequence] = []
        """Those whose next token is due as soon as the loop comes to it."""
        self._due: list[tuple[float, int, _Sequence]] = []
        """When each of the others is to be looked at; a heap."""
        self._looks = 0
        self._timer: asyncio.TimerHandle | None = None

    def submit(self, request: GenerationRequest) -> Mailbox:
        if self._closed:
            raise unloaded()
        now = self._clock()
        self._bound.passed(self._running, 0, now)
        waiting = sum(each.open for each in self._waiting)
        new = len(request.choices)
        if waiting or not self._fits(new):
            left = None if request.deadline is None else request.deadline - now
            self._bound.check(new, waiting, waiting, self._running, self.info.slots, left)
        mailbox = Mailbox(request, self._abort, None if self._delay else self._taken, clock=self._clock)
        sequence = _Sequence.of(request, mailbox, now)
        self._open[mailbox] = sequence
        self._waiting.append(sequence)
        self._admit()
        if not sequence.running:
            self._look(sequence, now + HEARTBEAT_S)
        return mailbox

    def load(self) -> EngineLoad:
        return EngineLoad(
            running=self._running,
            waiting=sum(each.open for each in tuple(self._waiting)),
            free_kv_tokens=max(0, self.info.slots - self._running) * self.info.context_length,
            generated_tokens=self._generated,
            steps=self._steps,
        )

    def load_adapter(self, folder: Path) -> Adapter:
        raise AdapterError("the echo engine has no weights to adapt")

    def close(self) -> None:
        self._closed = True
        for mailbox in tuple(self._open):
            mailbox.loop.call_soon_threadsafe(self._lose, mailbox)

    def _lose(self, mailbox: Mailbox) -> None:
        if (sequence := self._open.get(mailbox)) is not None:
            self._release(sequence, list(sequence.choices))
            mailbox.deliver(unloaded())

    def _fits(self, count: int) -> bool:
        # More choices than there are slots run together when nothing else does.
        return self._running == 0 or self._running + count <= self.info.slots

    def _admit(self) -> None:
        while self._waiting and self._fits(self._waiting[0].open):
            sequence = self._waiting.popleft()
            now = self._clock()
            self._bound.passed(self._running, 0, now)
            self._running += sequence.open
            sequence.running = True
            sequence.started = now
            sequence.mailbox.stats.queue_s = now - sequence.submitted
            sequence.next_at = now + self._delay
            if self._delay:
                self._look(sequence, now + HEARTBEAT_S)
            else:
                self._taken(sequence.mailbox)

    def _abort(self, mailbox: Mailbox, choice: int | None) -> None:
        if (sequence := self._open.get(mailbox)) is not None:
            self._release(sequence, [c for c in sequence.choices if choice in (None, c)])

    def _release(self, sequence: "_Sequence", choices: Sequence[int]) -> None:
        """Take back what ended choices held, and admit who waits."""
        sequence.choices = [choice for choice in sequence.choices if choice not in choices]
        if not sequence.choices:
            self._open.pop(sequence.mailbox, None)
        if sequence.running:
            self._bound.passed(self._running, len(choices), self._clock())
            self._running -= len(choices)
        elif not sequence.choices and sequence in self._waiting:
            self._waiting.remove(sequence)
        self._admit()

    def _taken(self, mailbox: Mailbox) -> None:
        """A reader waits for more."""
        if (sequence := self._open.get(mailbox)) is not None and sequence.running:
            if not self._read:
                mailbox.loop.call_soon(self._step_for_readers)
            self._read.append(sequence)

    def _step_for_readers(self) -> None:
        ready, self._read = self._read, []
        self._step(ready)

    def _look(self, sequence: "_Sequence", latest: float) -> None:
        """Look at a sequence when something is due for it, and at the ``latest`` then."""
        at = min(latest, sequence.next_at if sequence.running else latest)
        self._looks += 1
        sequence.look = self._looks
        heapq.heappush(self._due, (at, self._looks, sequence))
        if self._due[0][2] is sequence:
            self._set_timer(sequence.mailbox.loop)

    def _set_timer(self, loop: asyncio.AbstractEventLoop) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = loop.call_later(max(0.0, self._due[0][0] - self._clock()), self._step_for_time)

    def _step_for_time(self) -> None:
        self._timer = None
        now, ready = self._clock(), []
        while self._due and self._due[0][0] <= now:
            _, look, sequence = heapq.heappop(self._due)
            if look == sequence.look and (self._delay or not sequence.running):
                ready.append(sequence)
        self._step(ready)
        if self._due and self._timer is None:
            self._set_timer(self._due[0][2].mailbox.loop)

    def _step(self, ready: "Sequence[_Sequence]") -> None:
        """Compute what is due, and hand it over together."""
        now = self._clock()
        posts: list[_Post] = []
        for sequence in ready:
            if sequence.choices and not self._closed:
                posts += self._turn(sequence, now)
        self._steps += 1
        deliver_all(posts)
        self._admit()

    def _turn(self, sequence: "_Sequence", now: float) -> "Sequence[_Post]":
        request, mailbox = sequence.request, sequence.mailbox
        if not sequence.running or now < sequence.next_at:
            self._look(sequence, now + HEARTBEAT_S)
            read = len(request.prompt) if sequence.running else 0
            return ((mailbox, ProgressEvent(Phase.QUEUED, read)),)
        events = self._tokens(sequence)
        mailbox.stats.decode_s = now - sequence.started
        if ended := [event.choice for event in events if event.end is not None]:
            self._release(sequence, ended)
        if sequence.choices and self._delay:
            # Where all are on multiples of the delay they share steps.
            sequence.next_at = (math.floor(now / self._delay + 0.5) + 1) * self._delay
            self._look(sequence, now + HEARTBEAT_S)
        return [(mailbox, event) for event in events]

    def _tokens(self, sequence: "_Sequence") -> Sequence[TokensEvent]:
        if sequence.apart is None:
            events = self._at(sequence, sequence.index, sequence.choices)
            sequence.index += len(events[0].token_ids)
            return events
        events = []
        for choice in sequence.choices:
            events += self._at(sequence, sequence.apart[choice], [choice])
            sequence.apart[choice] += len(events[-1].token_ids)
        return events

    def _at(self, sequence: "_Sequence", start: int, choices: Sequence[int]) -> list[TokensEvent]:
        """What choices say next that have come as far as ``start``."""
        request = sequence.request
        limit = min(request.max_tokens, self._echo.tokens or request.max_tokens)
        ids, end = _next(request, start, min(start + self._echo.tokens_at_once, limit))
        if end is None and start + len(ids) >= limit:
            end = EndReason.LENGTH
        logprobs = None
        if request.top_logprobs is not None:
            logprobs = tuple(TokenLogprobs(0.0, ((t, 0.0),)[: request.top_logprobs], 1) for t in ids)
        self._generated += len(ids) * len(choices)
        return [TokensEvent(choice, start, ids, logprobs, end) for choice in choices]


@dataclass(slots=True, eq=False)
class _Sequence:
    """One request; all of its choices say the same."""

    mailbox: Mailbox
    request: GenerationRequest
    submitted: float
    choices: list[int]
    running: bool = False
    started: float = 0.0
    next_at: float = 0.0
    """When its next token is due."""
    look: int = 0
    """The number of the entry that is to look at it; others are out of date."""
    index: int = 0
    """Tokens that it has said."""
    apart: dict[int, int] | None = None
    """Where choices have said different numbers of them, how many each."""

    @classmethod
    def of(cls, request: GenerationRequest, mailbox: Mailbox, now: float) -> "_Sequence":
        """A request that comes in."""
        sequence = cls(mailbox, request, now, request.choices)
        if request.committed:
            apart = dict.fromkeys(sequence.choices, 0)
            apart |= {each: len(found.token_ids) for each, found in request.committed.items()}
            sequence.index = min(apart.values())
            sequence.apart = apart if max(apart.values()) > sequence.index else None
        return sequence

    @property
    def open(self) -> int:
        """Choices that have not ended."""
        return len(self.choices)


def _next(request: GenerationRequest, start: int, stop: int) -> tuple[tuple[int, ...], EndReason | None]:
    """Tokens ``start`` to ``stop``, cut after one that ends the choice."""
    prompt, ends = request.prompt, request.stop_token_ids
    size = len(prompt)
    ids = tuple(prompt[i % size] for i in range(start, stop))
    for offset, token in enumerate(ids):
        if token in ends and start + offset + 1 > request.min_tokens:
            return ids[: offset + 1], EndReason.STOP_TOKEN
    return ids, None
