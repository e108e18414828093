"""The echo engine: deterministic, without a model, and cheap enough to measure everything around it."""

import asyncio
import time
from collections import deque
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import suppress
from pathlib import Path

from inferloom_mesh.errors import InferloomError, Reason, overloaded
from inferloom_worker.engine.health import Health, unloaded
from inferloom_worker.engine.options import EngineOptions
from inferloom_worker.engine.protocol import (
    Adapter,
    EndReason,
    EngineInfo,
    EngineLoad,
    Event,
    GenerationRequest,
    GenerationStats,
    Phase,
    ProgressEvent,
    TokenLogprobs,
    TokensEvent,
)
from inferloom_worker.lora.config import AdapterError
from inferloom_worker.sourcing.echo_options import EchoOptions

HEARTBEAT_S = 1.0
"""How often a waiting request is told so."""


class EchoEngine:
    """An :class:`~inferloom_worker.engine.protocol.Engine` that repeats the prompt, over and over.

    It lives on the event loop, so everything but :meth:`load` and :meth:`close` is called there.
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
        self.echo = echo
        self.clock = clock
        self.closed = False
        self.generated = 0
        self._max_waiting = options.max_waiting
        self._running = 0
        self._waiting: deque[EchoGeneration] = deque()
        self._generations: set[EchoGeneration] = set()

    def submit(self, request: GenerationRequest) -> "EchoGeneration":
        if self.closed:
            raise unloaded()
        generation = EchoGeneration(self, request)
        waiting = sum(g.open for g in self._waiting)
        if (waiting or not self._fits(request.n)) and waiting + request.n > self._max_waiting:
            raise overloaded(f"{waiting} requests are waiting already.")
        self._waiting.append(generation)
        self._generations.add(generation)
        self._admit()
        return generation

    def load(self) -> EngineLoad:
        return EngineLoad(
            running=self._running,
            waiting=sum(g.open for g in tuple(self._waiting)),
            free_kv_tokens=max(0, self.info.slots - self._running) * self.info.context_length,
            generated_tokens=self.generated,
        )

    def load_adapter(self, folder: Path) -> Adapter:
        raise AdapterError("the echo engine has no weights to adapt")

    def close(self) -> None:
        self.closed = True
        for generation in tuple(self._generations):
            generation.loop.call_soon_threadsafe(generation.stop)

    def release(self, generation: "EchoGeneration", count: int) -> None:
        """Take back what ``count`` ended choices held, and admit who waits."""
        if not generation.open:
            self._generations.discard(generation)
        if generation.running:
            self._running -= count
        elif not generation.open and generation in self._waiting:
            self._waiting.remove(generation)
        self._admit()

    def _fits(self, count: int) -> bool:
        # More choices than there are slots run together when nothing else does.
        return self._running == 0 or self._running + count <= self.info.slots

    def _admit(self) -> None:
        while self._waiting and self._fits(self._waiting[0].open):
            generation = self._waiting.popleft()
            self._running += generation.open
            generation.running = True
            generation.admitted.set()


class EchoGeneration:
    """A :class:`~inferloom_worker.engine.protocol.Generation` of the echo engine."""

    def __init__(self, engine: EchoEngine, request: GenerationRequest) -> None:
        self.stats = GenerationStats()
        self.loop = asyncio.get_running_loop()
        self.admitted = asyncio.Event()
        self.over = asyncio.Event()
        self.running = False
        self._engine = engine
        self._request = request
        self._open = set(range(request.n))
        self._submitted = engine.clock()

    @property
    def open(self) -> int:
        """Choices that have not ended."""
        return len(self._open)

    def abort(self, choice: int | None = None) -> None:
        self._end(self._open if choice is None else self._open & {choice})

    def stop(self) -> None:
        """Wake whatever waits for a slot or for the next token."""
        self.admitted.set()
        self.over.set()

    def _end(self, choices: set[int]) -> None:
        if choices:
            self._open = self._open - choices
            self._engine.release(self, len(choices))
            if not self._open:
                self.stop()

    async def events(self) -> AsyncIterator[Sequence[Event]]:
        try:
            while self._open and not self.admitted.is_set():
                if not await self._wait():
                    yield (ProgressEvent(Phase.QUEUED, 0),)
            started = self._engine.clock()
            self.stats.queue_s = started - self._submitted
            async for batch in self._tokens():
                self.stats.decode_s = self._engine.clock() - started
                yield batch
        finally:
            self.abort()

    async def _wait(self) -> bool:
        """Wait for a slot, for a heartbeat's time at most; whether there is one."""
        left = (
            HEARTBEAT_S if self._request.deadline is None else self._request.deadline - self._engine.clock()
        )
        if left <= 0:
            raise InferloomError(Reason.TIMEOUT, "The deadline passed before the first token.")
        try:
            await asyncio.wait_for(self.admitted.wait(), min(left, HEARTBEAT_S))
        except TimeoutError:
            return False
        return True

    def _late(self) -> bool:
        return self._request.deadline is not None and self._engine.clock() >= self._request.deadline

    async def _pause(self, delay: float) -> None:
        """Wait between tokens, or until the deadline, every choice's abort or the engine's end."""
        if self._request.deadline is not None:
            delay = min(delay, max(0.0, self._request.deadline - self._engine.clock()))
        with suppress(TimeoutError):
            await asyncio.wait_for(self.over.wait(), delay)

    async def _tokens(self) -> AsyncIterator[Sequence[Event]]:
        engine, request = self._engine, self._request
        prompt, chunk, delay = request.prompt, engine.echo.tokens_at_once, engine.echo.delay_ms / 1e3
        limit = min(request.max_tokens, engine.echo.tokens or request.max_tokens)
        index = 0
        while self._open:
            if delay:
                pause = delay
                while pause > HEARTBEAT_S and not self.over.is_set() and not self._late():
                    await self._pause(HEARTBEAT_S)
                    pause -= HEARTBEAT_S
                    yield (ProgressEvent(Phase.QUEUED, len(prompt)),)
                await self._pause(pause)
            elif index:
                await asyncio.sleep(0)  # nothing keeps others from their turn
            if engine.closed:
                raise unloaded()
            if not self._open:
                return
            if self._late():
                if index == 0:
                    raise InferloomError(Reason.TIMEOUT, "The deadline passed before the first token.")
                ids: tuple[int, ...] = ()
                end: EndReason | None = EndReason.DEADLINE
            else:
                ids, end = self._next(prompt, index, min(index + chunk, limit))
                if end is None and index + len(ids) >= limit:
                    end = EndReason.LENGTH
            logprobs = None
            if request.top_logprobs is not None:
                logprobs = tuple(TokenLogprobs(0.0, ((t, 0.0),)[: request.top_logprobs], 1) for t in ids)
            batch = [TokensEvent(choice, index, ids, logprobs, end) for choice in sorted(self._open)]
            engine.generated += len(ids) * len(batch)
            index += len(ids)
            if end is not None:
                self._end(self._open)
            yield batch

    def _next(self, prompt: Sequence[int], start: int, stop: int) -> tuple[tuple[int, ...], EndReason | None]:
        """Tokens ``start`` to ``stop``, cut after one that ends the choice."""
        ids = tuple(prompt[i % len(prompt)] for i in range(start, stop))
        ends = self._request.stop_token_ids
        for offset, token in enumerate(ids):
            if token in ends and start + offset + 1 > self._request.min_tokens:
                return ids[: offset + 1], EndReason.STOP_TOKEN
        return ids, None
