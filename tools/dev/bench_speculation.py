"""Measure what drafting from a sequence's own past is worth: the same requests with and without it.

Usage: python tools/dev/bench_speculation.py [--streams 1 8] [--tokens 128] [--rounds 3] [--setting auto]
    [--temperatures 0 1]

It starts two meshes with the demo model, one that drafts nothing and one with the setting, and asks them in
turn. One task is made for drafting: the answer repeats most of its prompt. The other, free prose, is not. The
ratio is of the medians' tokens per second; accepted and rejected count draft tokens over all rounds. With a
temperature, the seeds are the same for both, and so are the answers.
"""

import argparse
import asyncio
import statistics
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from bench import MODEL, mesh

from inferloom.v1 import inference_pb2 as pb
from inferloom.v1.inference_pb2_grpc import InferenceServiceStub
from inferloom_mesh.channel import open_channel

if TYPE_CHECKING:
    from inferloom.v1.inference_pb2_grpc import InferenceServiceAsyncStub

SENTENCES = (
    "The ferry leaves the north quay at seven and reaches the island before nine.",
    "Passengers who carry bicycles wait by the second gate, where a clerk ties a label to each frame.",
    "On the island the road runs along the shore, past the salt works and the old school.",
    "It ends at a lighthouse that has been dark for thirty years.",
    "A family from the mainland keeps bees in its garden and sells the honey in small jars.",
    "The date of the harvest is written on each lid in blue ink.",
    "In winter the ferry stops at noon, and the post comes by helicopter once a week.",
    "Whoever misses it sleeps at the inn, which has four rooms and one bath.",
)
TOPICS = (
    "a clockmaker who finds a door in the sea",
    "a child who teaches a crow to count",
    "the last train to a town that has moved away",
    "two gardeners who cannot agree on a hedge",
    "a library where every book is blank",
    "a baker who wakes up in another century",
    "the night when the river ran backwards",
    "a letter that arrives forty years late",
)


def repeat(number: int) -> str:
    """A request whose answer is in it; each number has another text."""
    text = " ".join(SENTENCES[(number + i) % len(SENTENCES)] for i in range(6))
    return f"Repeat the following text exactly, word for word:\n\n{text}"


def prose(number: int) -> str:
    """A request whose answer is new."""
    return f"Write a short story about {TOPICS[number % len(TOPICS)]}."


TASKS = {"repeat": repeat, "prose": prose}


@dataclass
class Side:
    """What one mesh did with one task."""

    stub: "InferenceServiceAsyncStub"
    rates: list[float] = field(default_factory=list)
    answers: list[list[int]] = field(default_factory=list)
    accepted: int = 0
    rejected: int = 0

    async def round(self, task: str, streams: int, tokens: int, temperature: float) -> None:
        """Ask ``streams`` requests at once, and note tokens per second over all of them."""
        began = time.monotonic()
        self.answers = await asyncio.gather(
            *(self._ask(TASKS[task](i), tokens, temperature, seed=i) for i in range(streams))
        )
        self.rates.append(sum(map(len, self.answers)) / (time.monotonic() - began))

    async def _ask(self, text: str, tokens: int, temperature: float, seed: int) -> list[int]:
        chat = pb.ChatInput(messages=[pb.ChatMessage(role=pb.ROLE_USER, parts=[pb.ContentPart(text=text)])])
        request = pb.GenerateRequest(
            model=MODEL,
            chat=chat,
            sampling=pb.SamplingOptions(temperature=temperature, seed=seed),
            stopping=pb.StoppingOptions(max_tokens=tokens),
        )
        answer: list[int] = []
        async for event in self.stub.Generate(request):
            answer.extend(event.delta.token_ids)
            self.accepted += event.completed.usage.accepted_draft_tokens
            self.rejected += event.completed.usage.rejected_draft_tokens
        return answer


async def compare(
    addresses: tuple[str, str], task: str, streams: int, tokens: int, rounds: int, temperature: float
) -> str:
    """One row of the table."""
    async with open_channel(addresses[0]) as off_channel, open_channel(addresses[1]) as on_channel:
        off, on = (Side(InferenceServiceStub(channel)) for channel in (off_channel, on_channel))
        for side in (off, on):  # prompts are in the cache from here on, and step times are known
            await side.round(task, streams, tokens, temperature)
            side.rates.clear()
            side.accepted = side.rejected = 0
        for _ in range(rounds):
            for side in (off, on):
                await side.round(task, streams, tokens, temperature)
    medians = [statistics.median(side.rates) for side in (off, on)]
    same = "same" if off.answers == on.answers else "DIFFER"
    return (
        f"{task:>7}  {temperature:>5g}  {streams:>7}  {medians[0]:>8.1f}  {medians[1]:>8.1f}  "
        f"{medians[1] / medians[0]:>5.2f}  {on.accepted:>8}  {on.rejected:>8}  {same:>7}"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--streams", type=int, nargs="+", default=[1, 8])
    parser.add_argument("--tokens", type=int, default=128)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--temperatures", type=float, nargs="+", default=[0.0, 1.0])
    parser.add_argument("--setting", default="auto")
    parser.add_argument("--tasks", nargs="+", choices=TASKS, default=list(TASKS))
    args = parser.parse_args()
    with mesh(INFERLOOM_SPECULATION="off") as off, mesh(INFERLOOM_SPECULATION=args.setting) as on:
        print(f"tokens/s on {MODEL}, {args.rounds} rounds, up to {args.tokens} tokens each")
        names = ("task", "temp.", "streams", "off", args.setting, "ratio", "accepted", "rejected", "answers")
        print("{:>7}  {:>5}  {:>7}  {:>8}  {:>8}  {:>5}  {:>8}  {:>8}  {:>7}".format(*names), flush=True)
        for task in args.tasks:
            for temperature in args.temperatures:
                for streams in args.streams:
                    row = compare((off, on), task, streams, args.tokens, args.rounds, temperature)
                    print(asyncio.run(row), flush=True)


if __name__ == "__main__":
    main()
