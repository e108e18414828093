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
from pathlib import Path

import torch

from inferloom_mesh.errors import InferloomError
from inferloom_worker.engine.adapter import Adapter
from inferloom_worker.engine.events import Phase, ProgressEvent
from inferloom_worker.engine.health import Fault, Health, engine_failed, unloaded
from inferloom_worker.engine.mailbox import Mailbox, hand_over
from inferloom_worker.engine.options import EngineOptions
from inferloom_worker.engine.protocol import Continuity, EngineInfo, EngineLoad
from inferloom_worker.engine.queue_bound import QueueBound, Waiting, ahead_of
from inferloom_worker.engine.request import GenerationRequest
from inferloom_worker.engines.torch.step_runner import Post, StepRunner
from inferloom_worker.lora.weights import read_lora
from inferloom_worker.models.protocol import CausalModel, EmbeddingModel
from inferloom_worker.stepping.batch import decoding_first
from inferloom_worker.stepping.blocks import BLOCK_TOKENS, BlockPool
from inferloom_worker.stepping.longest_step import LongestStep
from inferloom_worker.stepping.pacing import Pacing
from inferloom_worker.stepping.scheduler import Scheduler
from inferloom_worker.stepping.scoring import most_places
from inferloom_worker.stepping.sequence import SequenceState
from inferloom_worker.stepping.speculation import Speculation

HEARTBEAT_S = 1.0
"""How often a request without other events is told that the engine moves."""

BEAT_S = 0.25
"""How often requests are looked through for those."""

log = logging.getLogger(__name__)
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
            max_step_scores=most_places(model.vocab_size),
        )
        self._runner = StepRunner(model, self._scheduler, self._pacing, clock)
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
            constrains=True,
            # The kernels compute a row alike however it came; torch rounds to 16 bits on other ways.
            continuity=(
                Continuity.EXACT
                if computes == "kernels" or model.dtype is torch.float32
                else Continuity.TOKENS
            ),
            drafts=options.speculation != "off",
            embedding_dimensions=model.hidden_size if isinstance(model, EmbeddingModel) else None,
        )
        self._bound = QueueBound(options.max_waiting, options.max_wait_s)
        self._freed = 0
        self._arrivals = self._steps = 0
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
        now = self._clock()
        with self._changed:
            if self.health.fault is not None:
                raise engine_failed()
            if self._closed:
                raise unloaded()
            self._check_room(request, now)
            mailbox = Mailbox(request, self._abort, clock=self._clock)
            for choice in request.choices:
                self._arrivals += 1
                self._inbox.append((request, mailbox, choice, self._arrivals, now))
            mailbox.posted_at = now
            self._open.add(mailbox)
            self._changed.notify()
        return mailbox

    def _check_room(self, request: GenerationRequest, now: float) -> None:
        """Refuse a request that would wait too long. The scheduler's lists are the other thread's: what they
        are at this moment is good enough."""
        waits = [arrival[0] for arrival in self._inbox]
        waits += [sequence.request for sequence in tuple(self._scheduler.waiting)]
        running = len(self._scheduler.running)
        who = (Waiting(each.tenant, each.priority) for each in waits)
        new = len(request.choices)
        self._bound.check(
            new,
            ahead_of(request.tenant, request.priority, who, new),
            len(waits),
            running,
            running if self._scheduler.short_of_memory else self._options.max_running,
            None if request.deadline is None else request.deadline - now,
        )

    def load(self) -> EngineLoad:
        return EngineLoad(
            running=len(self._scheduler.running),
            waiting=len(self._inbox) + len(self._scheduler.waiting),
            free_kv_tokens=self._pool.free * BLOCK_TOKENS,
            generated_tokens=self._runner.generated,
            longest_step_s=self._longest.seconds,
            steps=self._steps,
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
        finally:
            self._runner.close()

    def _fail_all(self, error: InferloomError) -> None:
        with self._changed:
            self._closed = True
            mailboxes = list(self._open)
        hand_over((mailbox, error) for mailbox in mailboxes)

    def _turn(self) -> None:
        """One turn of the loop. While it waits for the next, the thread holds nothing of a request's."""
        hand_over(self._beat())
        began = self._clock()
        self._bound.passed(len(self._scheduler.running), 0, began)
        planned = self._scheduler.schedule(self._pacing.prompt_rows, self._pacing.most_rows)
        if work := decoding_first(planned):
            for posts in self._runner.run(work):
                hand_over(posts)
        elif stuck := list(self._scheduler.sequences()):
            # The scheduler promises never to do this; if it did, callers would wait for ever.
            log.error("%d sequences wait and none can run", len(stuck))
            hand_over(self._runner.fail(stuck))
        ended = self._clock()
        self._longest.observe(ended, ended - began)
        self._steps += 1
        freed, self._freed = self._scheduler.freed - self._freed, self._scheduler.freed
        self._bound.passed(len(self._scheduler.running) + freed, freed, ended)

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


def _phase(sequence: SequenceState) -> Phase:
    if sequence.generated and sequence.remaining == 1:
        return Phase.QUEUED  # for a place in a step
    if sequence.blocks:
        return Phase.PREFILL
    return Phase.PREEMPTED if sequence.preempted else Phase.QUEUED
