"""The vLLM engine: one thread with an event loop of its own, on which vLLM's front end lives.

vLLM computes in processes of its own. Other threads only put calls onto the loop; it only hands events over,
those of a step together.
"""

import asyncio
import concurrent.futures
import itertools
import logging
import threading
import time
import weakref
from collections.abc import Callable, Coroutine
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from inferloom_mesh.errors import InferloomError, Reason, invalid, server_error
from inferloom_worker.engine.health import Fault, Health, engine_failed, unloaded
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
from inferloom_worker.engine.queue_bound import QueueBound, Waiting, ahead_of
from inferloom_worker.engines.vllm.adapters import VllmAdapter, read_adapter
from inferloom_worker.engines.vllm.backend import Backend, DeadError, Named, RefusedError, StepRecord
from inferloom_worker.engines.vllm.following import Following
from inferloom_worker.engines.vllm.translation import translate
from inferloom_worker.lora.config import AdapterError
from inferloom_worker.stepping.longest_step import LongestStep

HEARTBEAT_S = 1.0
"""How often a request without other events is told that the engine moves."""

BEAT_S = 0.25
"""How often requests are looked through for those, and vLLM for whether it is alive."""

ADAPTER_LIMIT_S = 120.0
"""How long vLLM may take to load an adapter."""

log = logging.getLogger(__name__)

_Post = tuple[Mailbox, Event | InferloomError]


@dataclass(slots=True)
class _Serving:
    """A choice that is under way."""

    task: "asyncio.Task[None] | None" = None
    said: int = 0
    """Tokens that it has."""


class VllmEngine:
    """An :class:`~inferloom_worker.engine.protocol.Engine` around vLLM's.

    Args:
        start: Starts vLLM's front end, on the engine's own loop, and tells what it computes with.
        options: Limits of the queue.
        carry: Whether our processor is in vLLM's engine.
        clock: Monotonic seconds, as the loop has them.
    """

    def __init__(
        self,
        start: Callable[[], tuple[Backend, EngineInfo]],
        options: EngineOptions,
        *,
        carry: bool,
        max_rank: int = 0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._options = options
        self._carry = carry
        self._max_rank = max_rank
        self._clock = clock
        self.health = Health()
        self._lock = threading.Lock()
        self._closed = False
        self._bound = QueueBound(options.max_waiting, options.max_wait_s)
        self._longest = LongestStep()
        self._last = StepRecord(0, 0, 0.0)
        self._stepped_at = self._busy_since = 0.0
        self._beaten_at = 0
        self._steps = self._generated = self._ended = 0
        self._open: dict[Mailbox, dict[int, _Serving]] = {}
        self._deadlines: dict[Mailbox, asyncio.TimerHandle] = {}
        """Of those that are open and have one."""
        self._counted: dict[Mailbox, int] = {}
        """Sequences that have not ended, from submission on."""
        self._posts: list[_Post] = []
        self._names = itertools.count()
        self._adapters: list[weakref.ref[VllmAdapter]] = []
        self._loop = _new_loop()
        self._thread = threading.Thread(target=self._run, name="vllm", daemon=True)
        self._thread.start()
        try:
            started: tuple[Backend, EngineInfo] = self._on_loop(_called(start))
        except BaseException:  # whatever kept it from starting, its thread must not stay
            self._stop()
            raise
        self._backend, self.info = started
        self._loop.call_soon_threadsafe(self._begin_watching)

    # On the event loops of callers.

    def submit(self, request: GenerationRequest) -> Mailbox:
        mailbox = Mailbox(request, self._abort)
        with self._lock:
            if self.health.fault is not None:
                raise engine_failed()
            if self._closed:
                raise unloaded()
            self._check_room(request)
            mailbox.posted_at = self._clock()
            self._counted[mailbox] = len(request.choices)
            self._loop.call_soon_threadsafe(self._begin, mailbox)
        return mailbox

    def _check_room(self, request: GenerationRequest) -> None:
        waits = self._waiting()
        own = Waiting(request.tenant, request.priority)
        new = len(request.choices)
        # vLLM has one queue, by priority and arrival, and no turns of tenants.
        ahead = ahead_of(request.tenant, request.priority, (own for _ in range(waits)), new)
        running = self._running()
        now = self._clock()
        left = None if request.deadline is None else request.deadline - now
        self._bound.check(new, ahead, waits, running, self.info.slots, left)

    def _running(self) -> int:
        return min(self.info.slots, sum(self._counted.values()))

    def _waiting(self) -> int:
        told = self._last.waiting if self._counted else 0
        return max(sum(self._counted.values()) - self.info.slots, told)

    def load(self) -> EngineLoad:
        with self._lock:
            running, waiting = self._running(), self._waiting()
        return EngineLoad(
            running=running,
            waiting=waiting,
            free_kv_tokens=int(self.info.kv_tokens * (1.0 - self._last.kv_usage)),
            generated_tokens=self._generated,
            longest_step_s=self._longest.seconds,
            steps=self._steps,
            adapter_bytes=sum(held.weights_bytes for held in (ref() for ref in self._adapters) if held),
        )

    def load_adapter(self, folder: Path) -> Adapter:
        if not self._max_rank:
            words = "vLLM takes adapters only if it was started with enable_lora=true in the model's spec"
            raise AdapterError(words)
        adapter = read_adapter(folder, min(self._max_rank, self._options.max_adapter_rank))
        try:
            self._on_loop(self._backend.add_adapter(adapter.loaded), ADAPTER_LIMIT_S)
        except (RefusedError, TimeoutError) as refused:
            raise AdapterError(f"vLLM does not take {folder.name}: {str(refused)[:400]}") from refused
        except DeadError as dead:
            raise AdapterError("vLLM's engine has ended") from dead
        weakref.finalize(adapter, self._forget, adapter.loaded.number)
        with self._lock:
            self._adapters = [*(ref for ref in self._adapters if ref()), weakref.ref(adapter)]
        return adapter

    def _forget(self, number: int) -> None:
        if not self._closed:
            asyncio.run_coroutine_threadsafe(self._backend.remove_adapter(number), self._loop)

    def close(self) -> None:
        with self._lock:
            if self._closed:
                return
            self._closed = True
        self._fail_all(unloaded())
        self._loop.call_soon_threadsafe(self._cancel_all)
        self._backend.shutdown()
        self._stop()

    def _abort(self, mailbox: Mailbox, choice: int | None) -> None:
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._cancel, mailbox, choice)

    # On the engine's own loop.

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.run_forever()
        left = asyncio.all_tasks(self._loop)
        for task in left:
            task.cancel()
        self._loop.run_until_complete(asyncio.gather(*left, return_exceptions=True))
        self._loop.run_until_complete(self._loop.shutdown_asyncgens())
        self._loop.close()

    def _stop(self) -> None:
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()

    def _on_loop(self, work: Coroutine[Any, Any, Any], limit_s: float | None = None) -> Any:
        done = asyncio.run_coroutine_threadsafe(work, self._loop)
        try:
            return done.result(limit_s)
        except concurrent.futures.TimeoutError:
            done.cancel()
            raise TimeoutError("it took too long") from None

    def _begin_watching(self) -> None:
        self._backend.watch(self._stepped)
        self._beating = self._loop.create_task(self._beat_on())

    def _begin(self, mailbox: Mailbox) -> None:
        if self.health.fault is not None or self._closed:
            return
        request = mailbox.request
        if not self._open:
            self._busy_since = self._clock()
        choices = self._open[mailbox] = {}
        for choice in request.choices:
            serving = choices[choice] = _Serving()
            serving.task = self._loop.create_task(self._serve(mailbox, choice, serving))
            serving.task.add_done_callback(partial(self._left, mailbox, choice))
        if request.deadline is not None:
            left = max(0.0, request.deadline - self._clock())
            self._deadlines[mailbox] = self._loop.call_later(left, self._expire, mailbox)

    async def _serve(self, mailbox: Mailbox, choice: int, serving: "_Serving") -> None:
        """One choice, from its submission to its end."""
        request = mailbox.request
        adapter = request.adapter.loaded if isinstance(request.adapter, VllmAdapter) else None
        named = Named(f"i{next(self._names)}", request.priority, request.cache_salt, adapter)
        try:
            if request.embeds:
                vector = await self._backend.embed(list(request.prompt), named)
                self._post(mailbox, VectorEvent(vector))
                return
            asked = translate(request, choice, carry=self._carry)
            following = Following(request, choice, asked, self.info.vocab_size)
            async for piece in self._backend.generate(asked, named):
                self._generated += len(piece.token_ids)
                if choice == request.choices[0]:
                    stats, cost = mailbox.stats, piece.timing
                    stats.cached_prompt_tokens = min(cost.cached_prompt_tokens, len(request.prompt))
                    stats.queue_s, stats.prefill_s = cost.queue_s, cost.prefill_s
                    stats.decode_s = cost.decode_s
                for event in following.take(piece):
                    self._post(mailbox, event)
                serving.said = following.said
                if following.over:
                    return
            if not following.over:
                raise server_error()
        except InferloomError as error:
            self._fail(mailbox, error)
        except RefusedError as refused:
            log.info("vLLM refused a request: %s", refused)
            words = f"vLLM does not take the request: {str(refused)[:400]}"
            constrained = request.constraint is not None
            failure = InferloomError(Reason.INVALID_ARGUMENT, words)
            self._fail(mailbox, invalid("constraint", words) if constrained else failure)
        except DeadError as dead:
            self._broke(dead)
        except asyncio.CancelledError:
            raise
        except Exception:  # one request's: vLLM tells its own end by DeadError, and is looked after in beats
            log.exception("a request failed in vLLM")
            self._fail(mailbox, server_error())

    def _left(self, mailbox: Mailbox, choice: int, _: object) -> None:
        """A choice holds nothing any more."""
        choices = self._open.get(mailbox)
        if choices is not None:
            choices.pop(choice, None)
            if not choices:
                del self._open[mailbox]
                if (deadline := self._deadlines.pop(mailbox, None)) is not None:
                    deadline.cancel()  # it holds the request
        with self._lock:
            if (left := self._counted.get(mailbox, 0) - 1) > 0:
                self._counted[mailbox] = left
            else:
                self._counted.pop(mailbox, None)
            self._ended += 1

    def _cancel(self, mailbox: Mailbox, choice: int | None) -> None:
        for index, serving in list(self._open.get(mailbox, {}).items()):
            if choice in (None, index) and serving.task is not None:
                serving.task.cancel()

    def _cancel_all(self) -> None:
        for mailbox in list(self._open):
            self._cancel(mailbox, None)

    def _fail(self, mailbox: Mailbox, error: InferloomError) -> None:
        self._post(mailbox, error)
        self._loop.call_soon(self._cancel, mailbox, None)

    def _expire(self, mailbox: Mailbox) -> None:
        """End what is past its deadline."""
        open_ = self._open.get(mailbox)
        if open_ is None:
            return
        if not all(serving.said for serving in open_.values()):
            late = InferloomError(Reason.TIMEOUT, "The deadline passed before the first token.")
            self._post(mailbox, late)
        else:
            for choice, serving in open_.items():
                self._post(mailbox, TokensEvent(choice, serving.said, (), None, EndReason.DEADLINE))
        self._cancel(mailbox, None)

    def _post(self, mailbox: Mailbox, event: Event | InferloomError) -> None:
        if not self._posts:
            self._loop.call_soon(self._flush)
        mailbox.posted_at = self._clock()
        self._posts.append((mailbox, event))

    def _flush(self) -> None:
        posts, self._posts = self._posts, []
        hand_over(posts)

    def _stepped(self, record: StepRecord) -> None:
        """vLLM has taken a step."""
        now = self._clock()
        self._longest.observe(now, now - max(self._stepped_at, self._busy_since))
        freed, self._ended = self._ended, 0
        self._bound.passed(self._last.running, freed, now)
        self._stepped_at, self._last = now, record
        self._steps += 1

    async def _beat_on(self) -> None:
        while True:
            await asyncio.sleep(BEAT_S)
            if self._backend.dead:
                self._broke(DeadError("vLLM's engine has ended"))
                return
            self._beat()

    def _beat(self) -> None:
        """Tell requests that had no event for about a second that the engine moves, if it does."""
        if self._steps == self._beaten_at:
            return
        now = self._clock()
        for mailbox, choices in self._open.items():
            if now - mailbox.posted_at >= HEARTBEAT_S:
                self._beaten_at = self._steps
                begun = self._last.waiting or any(serving.said for serving in choices.values())
                phase = Phase.QUEUED if begun else Phase.PREFILL
                self._post(mailbox, ProgressEvent(phase, 0))

    def _broke(self, error: BaseException) -> None:
        if self._closed:
            return
        log.critical("vLLM's engine failed: %s", error)
        self.health.broke(Fault("vLLM's engine", error))
        self._fail_all(engine_failed())

    def _fail_all(self, error: InferloomError) -> None:
        with self._lock:
            mailboxes = list(self._counted)
        hand_over((mailbox, error) for mailbox in mailboxes)


async def _called(start: Callable[[], Any]) -> Any:
    return start()


def _new_loop() -> asyncio.AbstractEventLoop:
    with suppress(ImportError):
        import uvloop

        return uvloop.new_event_loop()
    return asyncio.new_event_loop()
