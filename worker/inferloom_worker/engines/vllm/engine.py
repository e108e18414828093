"""The vLLM engine: one thread with an event loop of its own, on which vLLM's front end lives.

vLLM computes in processes of its own. Other threads only put calls onto the loop; it only hands events over,
those of a step together.
"""

import asyncio
import itertools
import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from inferloom_mesh.errors import InferloomError, Reason, invalid, server_error
from inferloom_worker.engine.adapter import Adapter
from inferloom_worker.engine.events import Event, Phase, ProgressEvent, VectorEvent
from inferloom_worker.engine.health import Fault, Health, engine_failed, unloaded
from inferloom_worker.engine.mailbox import Mailbox, hand_over
from inferloom_worker.engine.options import EngineOptions
from inferloom_worker.engine.protocol import EngineInfo, EngineLoad
from inferloom_worker.engine.request import GenerationRequest
from inferloom_worker.engines.http_status import reason_of
from inferloom_worker.engines.vllm.adapters import Adapters, VllmAdapter
from inferloom_worker.engines.vllm.backend import Backend, DeadError, Named, RefusedError, StepRecord
from inferloom_worker.engines.vllm.following import Following
from inferloom_worker.engines.vllm.full_step import full_step_s
from inferloom_worker.engines.vllm.loop_thread import LoopThread
from inferloom_worker.engines.vllm.room import Room
from inferloom_worker.engines.vllm.translation import translate
from inferloom_worker.stepping.longest_step import LongestStep

HEARTBEAT_S = 1.0
"""How often a request without other events is told that the engine moves."""

BEAT_S = 0.25
"""How often requests are looked through for those, and vLLM for whether it is alive."""

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
        self._carry = carry
        self._clock = clock
        self.health = Health()
        self._lock = threading.Lock()
        self._closed = False
        self._longest = LongestStep()
        self._last = StepRecord(0, 0, 0.0)
        self._stepped_at = self._busy_since = 0.0
        self._beaten_at = 0
        self._steps = self._generated = 0
        self._open: dict[Mailbox, dict[int, _Serving]] = {}
        self._posts: list[_Post] = []
        self._names = itertools.count()
        self._thread = LoopThread("vllm")
        self._loop = self._thread.loop
        backend: Backend | None = None
        try:
            started: tuple[Backend, EngineInfo] = self._thread.result(_called(start))
            backend, self.info = started
            self._full_step_s: float = self._thread.result(full_step_s(backend, self.info, clock))
        except BaseException:  # whatever kept it from starting, nothing of it must stay
            if backend is not None:
                backend.shutdown()
            self._thread.stop()
            raise
        self._backend = backend
        self._room = Room(options, self.info.slots)
        self._adapters = Adapters(self._backend, self._thread, min(max_rank, options.max_adapter_rank))
        self._thread.soon(self._begin_watching)

    # On the event loops of callers.

    def submit(self, request: GenerationRequest) -> Mailbox:
        with self._lock:
            if self.health.fault is not None:
                raise engine_failed()
            if self._closed:
                raise unloaded()
            self._room.check(request, self._last.waiting, self._clock())
            mailbox = Mailbox(request, self._abort, clock=self._clock)
            mailbox.posted_at = self._clock()
            self._room.enter(mailbox)
            self._thread.soon(self._begin, mailbox)
        return mailbox

    def load(self) -> EngineLoad:
        with self._lock:
            running, waiting = self._room.running, self._room.waiting(self._last.waiting)
        return EngineLoad(
            running=running,
            waiting=waiting,
            free_kv_tokens=int(self.info.kv_tokens * (1.0 - self._last.kv_usage)),
            generated_tokens=self._generated,
            longest_step_s=max(self._longest.seconds, self._full_step_s),
            steps=self._steps,
            adapter_bytes=self._adapters.weights_bytes,
        )

    def load_adapter(self, folder: Path) -> Adapter:
        return self._adapters.load(folder)

    def close(self) -> None:
        with self._lock:
            if self._closed:
                return
            self._closed = True
        self._adapters.close()
        self._fail_all(unloaded())
        self._thread.soon(self._cancel_all)
        self._backend.shutdown()
        self._thread.stop()

    def _abort(self, mailbox: Mailbox, choice: int | None) -> None:
        self._thread.soon(self._cancel, mailbox, choice)

    # On the engine's own loop.

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
            before = request.committed.get(choice)
            serving = choices[choice] = _Serving(said=0 if before is None else len(before.token_ids))
            serving.task = self._loop.create_task(self._serve(mailbox, choice, serving))
            serving.task.add_done_callback(partial(self._left, mailbox, choice))

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
            self._fail(mailbox, _refusal(refused, constrained=request.constraint is not None))
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
        with self._lock:
            self._room.leave(mailbox)

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
        self._room.stepped(self._last.running, now)
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
            mailboxes = self._room.mailboxes
        hand_over((mailbox, error) for mailbox in mailboxes)


async def _called(start: Callable[[], Any]) -> Any:
    return start()


def _refusal(refused: RefusedError, *, constrained: bool) -> InferloomError:
    words = f"vLLM does not take the request: {str(refused)[:400]}"
    reason = reason_of(refused.status)
    if reason is Reason.INVALID_ARGUMENT and constrained:
        return invalid("constraint", words)
    return InferloomError(reason, words, retry_after=1.0 if reason is Reason.SERVER_OVERLOADED else None)
