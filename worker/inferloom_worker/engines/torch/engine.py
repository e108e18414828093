"""The torch engine: one thread that owns a model and runs its steps.

Everything that touches the model, the scheduler or a sequence happens on that thread. Other threads only put
into its inbox; it only hands events over, once per step.
"""

import logging
import threading
import time
import weakref
from collections import deque
from collections.abc import Callable
from itertools import islice
from pathlib import Path

import numpy as np
import torch

from inferloom_mesh.errors import InferloomError, Reason, overloaded, server_error
from inferloom_worker.engine.health import Fault, Health, MemorySuspectError, engine_failed, unloaded
from inferloom_worker.engine.mailbox import Mailbox, hand_over
from inferloom_worker.engine.options import EngineOptions
from inferloom_worker.engine.protocol import (
    Adapter,
    EndReason,
    EngineInfo,
    EngineLoad,
    Event,
    GenerationRequest,
    Phase,
    ProgressEvent,
    TokensEvent,
    VectorEvent,
)
from inferloom_worker.lora.weights import read_lora
from inferloom_worker.models.protocol import CausalModel, EmbeddingModel
from inferloom_worker.stepping.batch import StepBatch, decoding_first
from inferloom_worker.stepping.blocks import BLOCK_TOKENS, BlockPool
from inferloom_worker.stepping.longest_step import LongestStep
from inferloom_worker.stepping.outcome import Outcome, verify
from inferloom_worker.stepping.pacing import Pacing
from inferloom_worker.stepping.sampler import Row, SampledToken, sample
from inferloom_worker.stepping.scheduler import Scheduler, Work
from inferloom_worker.stepping.sequence import SequenceState
from inferloom_worker.stepping.speculation import Speculation

HEARTBEAT_S = 1.0
"""How often a request without other events is told that the engine moves."""

BEAT_S = 0.25
"""How often requests are looked through for those."""

NO_NUMBERS = "The model computed no finite numbers for this request."

log = logging.getLogger(__name__)
Post = tuple[Mailbox, Event | InferloomError]
_Arrival = tuple[GenerationRequest, Mailbox, int, int, float]
"""What a sequence is made of: request, mailbox, choice, order, and when it was submitted."""


class TorchEngine:
    """An :class:`~inferloom_worker.engine.protocol.Engine` around a model.

    Args:
        model: The model; its cache is allocated here.
        options: Limits. ``context_length`` can only shorten the model's own.
        kv_blocks: Blocks of the cache.
        clock: Monotonic seconds.
        computes: What computes the model, for reports.
        instruction_set: With what, for reports.
    """

    def __init__(
        self,
        model: CausalModel,
        options: EngineOptions,
        kv_blocks: int,
        clock: Callable[[], float] = time.monotonic,
        *,
        computes: str = "torch",
        instruction_set: str = "",
    ) -> None:
        model.allocate(kv_blocks)
        self._model = model
        self._options = options
        self._clock = clock
        self._pool = BlockPool(kv_blocks)
        self._pacing = Pacing()
        self._longest = LongestStep()
        self._scheduler = Scheduler(
            self._pool,
            Speculation(options.speculation, self._pacing),
            max_running=options.max_running,
            max_step_tokens=options.max_step_tokens,
        )
        self.info = EngineInfo(
            vocab_size=model.vocab_size,
            context_length=min(model.context_length, options.context_length or model.context_length),
            dtype=str(model.dtype).removeprefix("torch."),
            engine=computes,
            instruction_set=instruction_set,
            slots=options.max_running,
            kv_tokens=kv_blocks * BLOCK_TOKENS,
            weights_bytes=model.weights_bytes,
            kv_bytes=model.kv_bytes_per_token * kv_blocks * BLOCK_TOKENS,
            embedding_dimensions=model.hidden_size if isinstance(model, EmbeddingModel) else None,
        )
        self._arrivals = 0
        self._generated = 0
        self._beat_at = 0.0
        self._inbox: deque[_Arrival] = deque()
        self._aborts: deque[tuple[Mailbox, int | None]] = deque()
        self._adapters: list[weakref.ref[Adapter]] = []
        self._open: weakref.WeakSet[Mailbox] = weakref.WeakSet()
        """What to fail if the scheduler's own books are not to be trusted any more."""
        self.health = Health()
        self._closed = False
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._run, name="engine", daemon=True)
        self._thread.start()

    def submit(self, request: GenerationRequest) -> Mailbox:
        mailbox = Mailbox(request, self._abort)
        now = self._clock()
        with self._changed:
            if self.health.fault is not None:
                raise engine_failed()
            if self._closed:
                raise unloaded()
            waiting = len(self._inbox) + len(self._scheduler.waiting)
            if waiting + request.n > self._options.max_waiting:
                raise overloaded(f"{waiting} requests are waiting already.")
            for choice in range(request.n):
                self._arrivals += 1
                self._inbox.append((request, mailbox, choice, self._arrivals, now))
            mailbox.posted_at = now
            self._open.add(mailbox)
            self._changed.notify()
        return mailbox

    def load(self) -> EngineLoad:
        return EngineLoad(
            running=len(self._scheduler.running),
            waiting=len(self._inbox) + len(self._scheduler.waiting),
            free_kv_tokens=self._pool.free * BLOCK_TOKENS,
            generated_tokens=self._generated,
            longest_step_s=self._longest.seconds,
            adapter_bytes=sum(held.weights_bytes for held in (ref() for ref in self._adapters) if held),
        )

    def load_adapter(self, folder: Path) -> Adapter:
        adapter = self._model.adapter(read_lora(folder, self._options.max_adapter_rank))
        with self._changed:
            self._adapters = [*(ref for ref in self._adapters if ref()), weakref.ref(adapter)]
        return adapter

    def close(self) -> None:
        with self._changed:
            self._closed = True
            self._changed.notify()
        self._thread.join()

    def _abort(self, mailbox: Mailbox, choice: int | None) -> None:
        with self._changed:
            self._aborts.append((mailbox, choice))
            self._changed.notify()

    def _run(self) -> None:
        try:
            with torch.inference_mode():
                while self._receive():
                    self._turn()
            self._fail_all(unloaded())
            for sequence in self._scheduler.sequences():
                self._scheduler.remove(sequence)
        except BaseException as failure:
            # The end of the thread, and so of the engine: nobody may go on waiting for it.
            log.critical("the engine's thread failed", exc_info=failure)
            self.health.broke(Fault("an engine's thread", failure))
            self._fail_all(engine_failed())

    def _fail_all(self, error: InferloomError) -> None:
        with self._changed:
            self._closed = True
            mailboxes = list(self._open)
        hand_over((mailbox, error) for mailbox in mailboxes)

    def _turn(self) -> None:
        """One turn of the loop. While it waits for the next, the thread holds nothing of a request's."""
        hand_over(self._expire() + self._beat())
        began = self._clock()
        if work := decoding_first(self._scheduler.schedule(self._pacing.prompt_rows)):
            if generating := [item for item in work if not item.sequence.request.embeds]:
                hand_over(self._step(generating))
            if embedding := [item for item in work if item.sequence.request.embeds]:
                hand_over(self._embed(embedding))
        elif stuck := list(self._scheduler.sequences()):
            # The scheduler promises never to do this; if it did, callers would wait for ever.
            log.error("%d sequences wait and none can run", len(stuck))
            hand_over(self._fail(stuck))
        ended = self._clock()
        self._longest.observe(ended, ended - began)

    def _receive(self) -> bool:
        """Take in what arrived, waiting while there is nothing to do; False when closed."""
        with self._changed:
            while not (self._closed or self._inbox or self._aborts or any(self._scheduler.sequences())):
                self._changed.wait()
            arrived = list(self._inbox)
            self._inbox.clear()
            doomed = set(self._aborts)
            self._aborts.clear()
            closed = self._closed
        for arrival in arrived:
            # Made here and not where it was submitted: each choice has a copy of the prompt.
            self._scheduler.add(SequenceState(*arrival))
        for sequence in self._scheduler.sequences() if doomed else ():
            if (sequence.mailbox, None) in doomed or (sequence.mailbox, sequence.choice) in doomed:
                self._scheduler.remove(sequence)
        return not closed

    def _expire(self) -> list[Post]:
        """End the sequences whose deadline has passed."""
        now = self._clock()
        posts: list[Post] = []
        for sequence in self._scheduler.sequences():
            if sequence.request.deadline is None or now < sequence.request.deadline:
                continue
            self._scheduler.remove(sequence)
            if sequence.generated:
                end = TokensEvent(sequence.choice, sequence.generated, (), None, EndReason.DEADLINE)
                posts.append((sequence.mailbox, end))
            else:
                late = InferloomError(Reason.TIMEOUT, "The deadline passed before the first token.")
                posts.append((sequence.mailbox, late))
        return posts

    def _beat(self) -> list[Post]:
        """Tell requests that had no event for about a second that the engine moves."""
        now = self._clock()
        if now - self._beat_at < BEAT_S:
            return []
        self._beat_at = now
        posts: list[Post] = []
        for sequence in self._scheduler.sequences():
            mailbox = sequence.mailbox
            if now - mailbox.posted_at >= HEARTBEAT_S:
                mailbox.posted_at = now
                read = min(sequence.computed, len(sequence.request.prompt))
                posts.append((mailbox, ProgressEvent(_phase(sequence), read)))
        return posts

    def _step(self, work: list[Work]) -> list[Post]:
        """Compute one step and return what it produced."""
        now = self._clock()
        _start(work, now)
        try:
            choices = self._compute(work)
        except MemorySuspectError:
            raise
        except Exception:
            # The boundary of the engine's thread: a sequence that cannot be computed ends its own request,
            # neither the process nor its neighbours in the step.
            log.exception("a step of %d sequences failed", len(work))
            return self._one_by_one(self._step, work)
        outcomes = [verify(item, chosen) for item, chosen in zip(work, choices, strict=True)]
        self._scheduler.advance(work, [outcome.tokens for outcome in outcomes])
        started, now = now, self._clock()
        self._pace(work, outcomes, now - started)
        posts: list[Post] = []
        for item, outcome in zip(work, outcomes, strict=True):
            if outcome.lost:
                posts += self._fail([item.sequence], NO_NUMBERS)
                continue
            if not outcome.tokens:
                continue  # a part of a prompt
            self._generated += len(outcome.tokens)
            self._time(item.sequence, now)
            item.sequence.mailbox.posted_at = now
            if outcome.end is not None:
                self._scheduler.remove(item.sequence)
            posts.append((item.sequence.mailbox, _tell(item.sequence, outcome)))
        return posts

    def _pace(self, work: list[Work], outcomes: list[Outcome], seconds: float) -> None:
        """Learn from a step how long steps take, and from one that only decoded what drafts cost."""
        rows = sum(item.count for item in work)
        drafts = sum(len(item.draft) for item in work)
        kinds = {item.sequence.request.sampling.greedy for item in work if item.draft}
        if not drafts:
            self._pacing.observe(rows, seconds)
        elif rows == len(work) and len(kinds) == 1:
            accepted = sum(outcome.accepted for outcome in outcomes)
            self._pacing.observe_drafts(rows, drafts, accepted, seconds, greedy=kinds.pop())

    def _compute(self, work: list[Work]) -> list[list[SampledToken]]:
        """Run the model and choose tokens: for a work that samples, one more than it drafts."""
        logits = self._model.forward(StepBatch.pack(work, self._model.device))
        counts = [len(item.draft) + 1 if item.samples else 0 for item in work]
        rows = [
            Row(item.sequence, item.draft[:ahead])
            for item, count in zip(work, counts, strict=True)
            for ahead in range(count)
        ]
        chosen = iter(sample(logits, rows, self._model.chooser))
        return [list(islice(chosen, count)) for count in counts]

    def _embed(self, work: list[Work]) -> list[Post]:
        """Read a step's share of the texts to embed; return the vectors of those that are read to the end."""
        assert isinstance(self._model, EmbeddingModel)
        started = self._clock()
        _start(work, started)
        try:
            vectors = self._model.hidden(StepBatch.pack(work, self._model.device)).cpu().numpy()
        except MemorySuspectError:
            raise
        except Exception:
            # As above.
            log.exception("a step of %d texts failed", len(work))
            return self._one_by_one(self._embed, work)
        self._scheduler.advance(work, [[] for _ in work])
        now = self._clock()
        self._pacing.observe(sum(item.count for item in work), now - started)
        posts: list[Post] = []
        read = [item.sequence for item in work if item.samples]
        for sequence, vector in zip(read, vectors, strict=True):
            if not np.isfinite(vector).all():
                posts += self._fail([sequence], NO_NUMBERS)
                continue
            self._time(sequence, now)
            self._scheduler.remove(sequence)
            posts.append((sequence.mailbox, VectorEvent(vector)))
        return posts

    def _one_by_one(self, compute: Callable[[list[Work]], list[Post]], work: list[Work]) -> list[Post]:
        """Compute what failed together again, each alone; one that was alone fails."""
        if len(work) == 1:
            return self._fail([work[0].sequence])
        posts: list[Post] = []
        for item in work:
            if item.sequence in self._scheduler.running:  # another choice of its request may have failed
                posts += compute([item])
        return posts

    def _fail(self, sequences: list[SequenceState], words: str | None = None) -> list[Post]:
        """End whole requests with a server error, whose message is ``words`` or says nothing."""
        doomed = {s.mailbox for s in sequences}
        for sequence in self._scheduler.sequences():
            if sequence.mailbox in doomed:
                self._scheduler.remove(sequence)
        error = server_error() if words is None else InferloomError(Reason.SERVER_ERROR, words)
        return [(mailbox, error) for mailbox in doomed]

    def _time(self, sequence: SequenceState, now: float) -> None:
        stats = sequence.mailbox.stats
        if sequence.first_token_at is None:
            sequence.first_token_at = now
            stats.prefill_s = max(stats.prefill_s, now - (sequence.started_at or now))
        stats.decode_s = max(stats.decode_s, now - sequence.first_token_at)


def _start(work: list[Work], now: float) -> None:
    """Note the sequences whose first step this is."""
    for sequence in (item.sequence for item in work if item.sequence.started_at is None):
        sequence.started_at = now
        stats = sequence.mailbox.stats
        stats.queue_s = max(stats.queue_s, now - sequence.submitted_at)
        if sequence.choice == 0:
            stats.cached_prompt_tokens = sequence.reused


def _phase(sequence: SequenceState) -> Phase:
    if sequence.generated and sequence.remaining == 1:
        return Phase.QUEUED  # for a place in a step
    if sequence.blocks:
        return Phase.PREFILL
    return Phase.PREEMPTED if sequence.preempted else Phase.QUEUED


def _tell(sequence: SequenceState, outcome: Outcome) -> TokensEvent:
    """The event for what was just appended to a sequence."""
    return TokensEvent(
        sequence.choice,
        sequence.generated - len(outcome.tokens),
        tuple(outcome.tokens),
        tuple(outcome.logprobs) or None,
        outcome.end,
        outcome.accepted,
        outcome.rejected,
    )
