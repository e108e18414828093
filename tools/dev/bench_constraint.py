"""What constraints cost: compiling with the first mask, and a step with them beside one without.

    python tools/dev/bench_constraint.py [--schemas FILE] [--streams 1 32] [--rounds 5] [--tokens 64]

FILE has JSON lines with ``schema``; each is compiled once, as a request does it, for the demo model. Steps
are those of the demo model: rounds of constrained and free answers of equal length alternate, greedy and
without drafts; the ratio is that of the medians of their times per token. Both sides share the machine, so a
busy one shows in the spread.
"""

import argparse
import asyncio
import json
import statistics
import time
from pathlib import Path

from inferloom.v1 import inference_pb2 as pb
from inferloom_mesh.errors import InferloomError
from inferloom_worker.constrain.compiler import GrammarCompiler
from inferloom_worker.constrain.grammar import Grammar, Kind
from inferloom_worker.engine.options import EngineOptions
from inferloom_worker.hosting.answer import Terms
from inferloom_worker.hosting.load_options import LoadOptions
from inferloom_worker.hosting.model_loading import load_model
from inferloom_worker.hosting.served import ServedModel
from inferloom_worker.sourcing import demo
from inferloom_worker.text.gguf_tokenizer import load_gguf_tokenizer
from inferloom_worker.text.pool import TextPool
from inferloom_worker.validate.generate import read_generate
from inferloom_worker.weights.gguf import read_gguf

DEMO = "smollm2-135m-instruct"

SCHEMA = {"type": "array", "items": {"type": "string", "maxLength": 40}, "minItems": 1000}
"""Strings without end: masks of the whole vocabulary, and few forced tokens."""


def main() -> None:
    """Measure both, and print them."""
    form = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=form)
    parser.add_argument("--schemas", type=Path)
    parser.add_argument("--streams", type=int, nargs="*", default=[1, 32])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--tokens", type=int, default=64)
    args = parser.parse_args()
    if args.schemas is not None:
        _compile(args.schemas)
    if args.streams:
        model = load_model("m", DEMO, LoadOptions(engine=EngineOptions(speculation="off")))
        try:
            asyncio.run(_steps(model, args.streams, args.rounds, args.tokens))
        finally:
            model.close()


def _compile(path: Path) -> None:
    tokenizer = load_gguf_tokenizer(read_gguf(demo.fetch(DEMO)))
    compiler = GrammarCompiler(tokenizer, tokenizer.vocab_size)
    compiler.compile(Grammar("[a-z]", kind=Kind.REGEX))  # so that no vocabulary is waited for
    times: list[float] = []
    for line in path.read_text(encoding="utf-8").splitlines():
        grammar = Grammar(json.dumps(json.loads(line)["schema"]), "schema", Kind.JSON_SCHEMA)
        began = time.perf_counter()
        try:
            compiler.compile(grammar)
        except InferloomError:
            continue
        times.append((time.perf_counter() - began) * 1e3)
    at = {q: sorted(times)[min(int(len(times) * q), len(times) - 1)] for q in (0.5, 0.75, 0.99)}
    print(f"compile and first mask of {len(times)} schemas, ms:", end=" ")
    print(", ".join(f"p{q * 100:g} {value:.1f}" for q, value in at.items()))


async def _steps(model: ServedModel, streams: list[int], rounds: int, tokens: int) -> None:
    texts = TextPool()
    constraint = pb.Constraint(json_schema=json.dumps(SCHEMA))
    for count in streams:
        free: list[float] = []
        bound: list[float] = []
        for index in range(rounds + 1):  # the first of each is not counted
            for wanted, times in ((None, free), (constraint, bound)):
                took = await _round(model, texts, wanted, count, tokens)
                if index:
                    times.append(took * 1e3)
        ratio = statistics.median(bound) / statistics.median(free)
        print(
            f"{count} streams, ms per step: free {statistics.median(free):.2f} "
            f"({min(free):.2f} to {max(free):.2f}), constrained {statistics.median(bound):.2f} "
            f"({min(bound):.2f} to {max(bound):.2f}), ratio {ratio:.2f}"
        )
    texts.close()


async def _round(
    model: ServedModel, texts: TextPool, constraint: pb.Constraint | None, streams: int, tokens: int
) -> float:
    """Seconds per step of answers side by side, from the first token of all to the last."""

    async def one(index: int) -> tuple[float, float]:
        request = pb.GenerateRequest(
            model="m",
            text=f"Names, number {index}: ",
            sampling=pb.SamplingOptions(temperature=0),
            stopping=pb.StoppingOptions(max_tokens=tokens, ignore_eos=True),
            constraint=constraint,
        )
        asked = read_generate(request, model.card.vocabulary_size)
        answer = await model.answer(asked, Terms(), texts)
        first = last = 0.0
        async for batch in answer.events():
            if any(event.HasField("delta") for event in batch):
                last = time.perf_counter()
                first = first or last
        return first, last

    spans = await asyncio.gather(*(one(index) for index in range(streams)))
    return (max(last for _, last in spans) - max(first for first, _ in spans)) / (tokens - 1)


if __name__ == "__main__":
    main()
