"""Measure what a step of the engine takes beside its model: scheduling, laying out, choosing tokens, telling.

Usage: python tools/dev/bench_steps.py [--rows 1 32 256] [--tokens 64] [--profile greedy]

The model is a tiny decoder in torch whose steps are recorded as graphs, as on a GPU, and its graphs compute
nothing. What is left is what a GPU waits for between its steps. Times are processor time of the engine's
thread, the least of several rounds; the threads that read are not in it.
"""

import argparse
import asyncio
import cProfile
import pstats
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch
from cuda.shapes import RandomCheckpoint, llama
from torch import Tensor

from inferloom_mesh.runtime import settle
from inferloom_worker.engine.limits import TokenLimits
from inferloom_worker.engine.options import EngineOptions
from inferloom_worker.engine.protocol import Generation
from inferloom_worker.engine.request import GenerationRequest
from inferloom_worker.engine.sampling import Sampling
from inferloom_worker.engines.torch.engine import TorchEngine
from inferloom_worker.models.captured import CapturedModel
from inferloom_worker.models.graph_sizes import GraphSizes
from inferloom_worker.models.llama import LlamaModel
from inferloom_worker.stepping.blocks import blocks_for

GREEDY = Sampling(temperature=0.0)
KINDS: dict[str, dict[str, Any]] = {
    "greedy": {"sampling": GREEDY},
    "drawn": {"sampling": Sampling(temperature=0.8)},
    "top-p": {"sampling": Sampling(temperature=0.8, top_p=0.95)},
    "penalties": {"sampling": Sampling(temperature=0.0, presence_penalty=0.1, repetition_penalty=1.1)},
    "bias": {"sampling": Sampling(temperature=0.0, logit_bias={5: 1.0, 6: -1.0, 7: -100.0})},
    "allowed": {"sampling": GREEDY, "limits": TokenLimits(range(0, 128, 2))},
    "bad words": {"sampling": GREEDY, "limits": TokenLimits(None, [[5], [6, 7], [8, 9, 10]])},
    "min tokens": {"sampling": GREEDY, "min_tokens": 1000, "stop_token_ids": frozenset({3, 4})},
    "logprobs": {"sampling": GREEDY, "top_logprobs": 5},
}


class EmptyGraph:
    """A graph that computes nothing: its logits are random."""

    def record(self, work: Callable[[], Tensor]) -> None:
        """Note where the logits go."""
        self._logits = work()
        self._sets = [torch.randn_like(self._logits) for _ in range(5)]
        self._turn = 0

    def replay(self) -> None:
        """Give other logits than last time, so that answers do not repeat."""
        self._turn += 1
        self._logits.copy_(self._sets[self._turn * self._turn % 31 % 5])


class Meter:
    """Takes the time of an engine's turns."""

    def __init__(self, engine: TorchEngine) -> None:
        self._turn = engine._turn
        self.seconds: list[tuple[int, float]] = []
        self.profiler: cProfile.Profile | None = None
        self._running = engine._scheduler.running
        engine._turn = self._timed  # type: ignore[method-assign]

    def _timed(self) -> None:
        rows = sum(sequence.remaining == 1 for sequence in self._running)
        began = time.thread_time()
        if self.profiler is not None:
            self.profiler.enable()
        self._turn()
        if self.profiler is not None:
            self.profiler.disable()
        self.seconds.append((rows, time.thread_time() - began))

    def least(self, rows: int) -> float:
        """Seconds of a step of so many rows that decode: the tenth of the least."""
        taken = sorted(seconds for count, seconds in self.seconds if count == rows)
        return taken[len(taken) // 10]


async def serve(engine: TorchEngine, rows: int, asked: argparse.Namespace, kind: str, seed: int) -> None:
    """Send so many requests side by side and read their answers."""
    fields = KINDS[kind]

    def ask(number: int) -> Generation:
        generator = torch.Generator().manual_seed(1000 * seed + number)
        prompt = torch.randint(0, asked.vocabulary, (asked.context,), generator=generator).tolist()
        own = fields | {"sampling": replace(fields["sampling"], seed=number)}
        return engine.submit(
            GenerationRequest(request_id="bench", prompt=prompt, max_tokens=asked.tokens, **own)
        )

    async def read(generation: Generation) -> None:
        async for _ in generation.events():
            pass

    with engine._changed:  # all of them begin with the same step
        generations = [ask(number) for number in range(rows)]
    await asyncio.gather(*map(read, generations))


def main() -> None:
    """Measure each kind of request."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", nargs="+", type=int, default=[1, 32, 256])
    parser.add_argument("--tokens", type=int, default=64)
    parser.add_argument("--context", type=int, default=48, help="tokens of each prompt")
    parser.add_argument("--vocabulary", type=int, default=128)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--speculation", choices=("off", "auto"), default="auto")
    parser.add_argument("--kinds", nargs="+", choices=KINDS, default=list(KINDS))
    parser.add_argument("--profile", action="store_true")
    asked = parser.parse_args()
    torch.set_num_threads(1)
    cpu = torch.device("cpu")
    tiny = llama(1, 64, 2, 1, 64, asked.vocabulary, tied=True)
    model = LlamaModel(tiny, RandomCheckpoint.of(tiny, torch.float32, cpu), torch.float32, cpu)
    most = max(asked.rows)
    length = asked.context + asked.tokens + 16
    sizes = GraphSizes(max_rows=most, max_reads=0, max_context=length)
    captured = CapturedModel(model, sizes=sizes, new_graph=EmptyGraph)
    options = EngineOptions(
        max_running=most,
        max_waiting=2 * most,
        max_step_tokens=most * asked.context,
        speculation=asked.speculation,
    )
    engine = TorchEngine(captured, options, (most + 2) * blocks_for(length) + 64)
    settle()
    meter = Meter(engine)
    seed = 0
    try:
        for kind in asked.kinds:
            line = []
            for rows in asked.rows:
                meter.seconds.clear()
                for _ in range(asked.rounds):
                    seed += 1
                    asyncio.run(serve(engine, rows, asked, kind, seed))
                line.append((rows, 1e6 * meter.least(rows)))
            told = ", ".join(f"{rows} rows {micros:7.0f}" for rows, micros in line)
            slope = (line[-1][1] - line[0][1]) / max(1, line[-1][0] - line[0][0])
            print(f"{kind:>10}, us a step: {told}; a row {slope:6.2f}", flush=True)
            if asked.profile:
                meter.profiler = cProfile.Profile()
                asyncio.run(serve(engine, most, asked, kind, seed + 1))
                pstats.Stats(meter.profiler).sort_stats("tottime").print_stats(32)
                meter.profiler = None
    finally:
        engine.close()


if __name__ == "__main__":
    main()
