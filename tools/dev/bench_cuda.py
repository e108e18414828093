"""Measure steps of Llama-shaped decoders on a GPU: operations in torch, as graphs, and fused, in one run.

Usage: python tools/dev/bench_cuda.py [--shapes 135M 1B 8B] [--rows 1 16 64 256] [--context 512] [--engine]

Weights are random, of the shapes of SmolLM2-135M, Llama-3.2-1B and Llama-3.1-8B, in bfloat16. A decoding step
cannot be shorter than the reading of its weights and its state, at the rate at which the GPU copies memory:
that is the floor in the table. With --engine, requests go through the whole engine.
"""

import argparse
import asyncio
import cProfile
import pstats
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch
from cuda.shapes import SHAPES, RandomCheckpoint

from inferloom_worker.engine.events import TokensEvent
from inferloom_worker.engine.options import EngineOptions
from inferloom_worker.engine.request import GenerationRequest
from inferloom_worker.engine.sampling import Sampling
from inferloom_worker.engines.torch.engine import TorchEngine
from inferloom_worker.models.captured import CapturedModel
from inferloom_worker.models.config import DecoderConfig
from inferloom_worker.models.cuda_graph import CudaGraphs
from inferloom_worker.models.fused.operations import FusedOperations
from inferloom_worker.models.graph_sizes import GraphSizes
from inferloom_worker.models.llama import LlamaModel
from inferloom_worker.models.operations import TorchOperations
from inferloom_worker.models.protocol import CausalModel
from inferloom_worker.stepping.batch import Span, StepBatch
from inferloom_worker.stepping.blocks import blocks_for

CUDA = torch.device("cuda")
REPEATS = 10


def main() -> None:
    """Measure each shape in turn."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--shapes", nargs="+", default=list(SHAPES), choices=SHAPES)
    parser.add_argument("--rows", nargs="+", type=int, default=[1, 16, 64, 256])
    parser.add_argument("--context", type=int, default=512)
    parser.add_argument("--engine", action="store_true")
    parser.add_argument("--profile", action="store_true")
    asked = parser.parse_args()
    rate = copy_rate()
    gpu = torch.cuda.get_device_name()
    print(f"{gpu}, torch {torch.__version__}: memory is copied at {rate / 1e12:.2f} TB/s")
    for name in asked.shapes:
        measure_steps(name, SHAPES[name], asked.rows, asked.context, rate)
        if asked.engine:
            measure_engine(name, SHAPES[name], asked.rows, asked.context, profiled=asked.profile)
        torch.cuda.empty_cache()


def copy_rate() -> float:
    """Bytes a second that a copy within the GPU reads and writes."""
    source = torch.empty(1 << 31, dtype=torch.uint8, device=CUDA)
    target = torch.empty_like(source)
    return 2 * source.numel() / median_s(lambda: target.copy_(source))


def median_s(work: Callable[[], object]) -> float:
    """Seconds of a piece of work: the median of several, with the GPU waited for."""
    taken = []
    for _ in range(3):
        work()
    for _ in range(REPEATS):
        torch.cuda.synchronize()
        began = time.perf_counter()
        work()
        torch.cuda.synchronize()
        taken.append(time.perf_counter() - began)
    return statistics.median(taken)


def measure_steps(name: str, config: DecoderConfig, rows: list[int], context: int, rate: float) -> None:
    """Print what a step takes, of each kind of model."""
    most = max(rows)
    blocks = most * blocks_for(context + 1) + blocks_for(4096)
    models: dict[str, CausalModel] = {}
    checkpoint = RandomCheckpoint.of(config, torch.bfloat16, CUDA)
    for kind, operations in (("torch", TorchOperations()), ("fused", FusedOperations())):
        plain = LlamaModel(config, checkpoint, torch.bfloat16, CUDA, operations)
        captured = recorded(plain, most, 0)
        captured.allocate(blocks)
        models |= {kind: plain, f"{kind}, graphs": captured}
    print(f"\n{name}, context {context}: milliseconds of a step")
    print(f"{'':>16}{'floor':>9}" + "".join(f"{kind:>16}" for kind in models))
    for count in rows:
        step = decoding(count, context)
        moved = plain.weights_bytes + count * context * plain.kv_bytes_per_token
        times = [f"{1e3 * median_s(partial(model.forward, step)):16.2f}" for model in models.values()]
        print(f"decode {count:>4} rows {1e3 * moved / rate:9.2f}" + "".join(times), flush=True)
    for tokens in (512, 2048):
        step = reading(tokens)
        plains = {kind: model for kind, model in models.items() if "graphs" not in kind}
        times = [f"{kind} {1e3 * median_s(partial(m.forward, step)):.2f}" for kind, m in plains.items()]
        print(f"read {tokens} tokens: {', '.join(times)}", flush=True)
    step = StepBatch([1], [4000], [Span(0, 1, 4001, list(range(blocks_for(4001))))], [0], CUDA)
    times = [f"{kind} {1e3 * median_s(partial(m.forward, step)):.2f}" for kind, m in models.items()]
    print(f"decode 1 row at 4000: {', '.join(times)}", flush=True)


def recorded(model: LlamaModel, rows: int, reads: int) -> CapturedModel:
    """The model with graphs of its steps."""
    sizes = GraphSizes(max_rows=rows, max_reads=reads, max_context=4352)
    return CapturedModel(model, sizes=sizes, new_graph=CudaGraphs().new)


def decoding(rows: int, context: int) -> StepBatch:
    """A step of rows that decode."""
    each = blocks_for(context + 1)
    spans = [Span(n, 1, context, list(range(n * each, (n + 1) * each))) for n in range(rows)]
    return StepBatch([7] * rows, [context - 1] * rows, spans, list(range(rows)), CUDA)


def reading(tokens: int) -> StepBatch:
    """A step that reads a prompt."""
    span = Span(0, tokens, tokens, list(range(blocks_for(tokens))))
    return StepBatch([7] * tokens, list(range(tokens)), [span], [tokens - 1], CUDA)


def measure_engine(
    name: str, config: DecoderConfig, rows: list[int], context: int, *, profiled: bool
) -> None:
    """Print the tokens a second of a whole engine, at each number of requests side by side."""
    plain = LlamaModel(config, RandomCheckpoint.of(config, torch.bfloat16, CUDA), torch.bfloat16, CUDA)
    most = max(rows)
    model = recorded(plain, most, 2048)
    options = EngineOptions(max_running=most, max_waiting=2 * most, max_step_tokens=2048, speculation="off")
    engine = TorchEngine(model, options, most * blocks_for(context + 160) + blocks_for(8192))
    began = time.perf_counter()
    model.prepare()
    torch.cuda.synchronize()
    print(f"graphs recorded in {time.perf_counter() - began:.1f} s")
    print(f"\n{name} through the engine, prompts of {context}, 128 tokens")
    try:
        asyncio.run(serve(engine, most, context, 128, seed=1))  # the engine learns what steps cost
        seed = 2
        for count in rows:
            for sampled in (False, True):
                run = asyncio.run(serve(engine, count, context, 128, seed=seed, sampled=sampled))
                seed += 1
                kind = "sampled" if sampled else "greedy"
                print(f"{count:>4} streams, {kind}: {run}", flush=True)
        if profiled:
            profile_engine(engine, most, context)
    finally:
        engine.close()


@dataclass(frozen=True, slots=True)
class Served:
    """What a crowd of requests saw."""

    tokens: int
    seconds: float
    first_s: list[float]
    """Until each had its first token."""
    gap_s: list[float]
    """Mean time between the tokens of each."""

    def __str__(self) -> str:
        first, gap = statistics.median(self.first_s), statistics.median(self.gap_s)
        return (
            f"{self.tokens / self.seconds:,.0f} tok/s in all, first token after {1e3 * first:.0f} ms "
            f"(all: {1e3 * max(self.first_s):.0f}), then one in {1e3 * gap:.2f} ms"
        )


async def serve(
    engine: TorchEngine, count: int, context: int, tokens: int, *, seed: int = 0, sampled: bool = False
) -> Served:
    """Send requests side by side, with prompts that nobody has read before."""
    began = time.perf_counter()

    async def one(number: int) -> tuple[float, float]:
        generator = torch.Generator().manual_seed(1000 * seed + number)
        prompt = torch.randint(0, 40_000, (context,), generator=generator).tolist()
        sampling = (
            Sampling(temperature=0.8, top_p=0.95, seed=number) if sampled else Sampling(temperature=0.0)
        )
        asked = GenerationRequest(request_id="bench", prompt=prompt, max_tokens=tokens, sampling=sampling)
        at = [
            time.perf_counter()
            async for batch in engine.submit(asked).events()
            for event in batch
            if isinstance(event, TokensEvent) and event.token_ids
        ]
        return at[0] - began, (at[-1] - at[0]) / (tokens - 1)

    seen = await asyncio.gather(*(one(number) for number in range(count)))
    took = time.perf_counter() - began
    return Served(count * tokens, took, [first for first, _ in seen], [gap for _, gap in seen])


def profile_engine(engine: TorchEngine, count: int, context: int) -> None:
    """Print where the engine's thread spends its time."""
    profiler = cProfile.Profile()
    turn = engine._turn

    def profiled() -> None:
        profiler.enable()
        try:
            turn()
        finally:
            profiler.disable()

    engine._turn = profiled  # type: ignore[method-assign]
    asyncio.run(serve(engine, count, context, 64, seed=3))
    engine._turn = turn  # type: ignore[method-assign]
    pstats.Stats(profiler).sort_stats("tottime").print_stats(28)


if __name__ == "__main__":
    main()
