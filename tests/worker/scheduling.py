"""A scheduler with sequences, and what a step would do with them."""

from collections.abc import Sequence
from dataclasses import replace

from inferloom_worker.engine.options import SpeculationSetting
from inferloom_worker.engine.request import Committed, GenerationRequest
from inferloom_worker.stepping.blocks import BLOCK_TOKENS, BlockPool
from inferloom_worker.stepping.pacing import Pacing
from inferloom_worker.stepping.scheduler import Scheduler
from inferloom_worker.stepping.sequence import SequenceState
from inferloom_worker.stepping.speculation import Speculation
from inferloom_worker.stepping.work import Work
from tests.worker.engines import request

COMMON = list(range(1000, 1000 + 4 * BLOCK_TOKENS))
"""How prompts begin that begin alike."""


def scheduler(
    blocks: int = 64, running: int = 8, budget: int = 32, drafts: SpeculationSetting = "off"
) -> Scheduler:
    """A scheduler over a pool of ``blocks``."""
    return Scheduler(
        BlockPool(blocks), Speculation(drafts, Pacing()), max_running=running, max_step_tokens=budget
    )


def sequence(asked: GenerationRequest, arrival: int) -> SequenceState:
    """One that came as the so many-th, which nobody hears."""
    return SequenceState(asked, mailbox=None, choice=0, arrival=arrival, submitted_at=0.0)  # type: ignore[arg-type]


def queue(target: Scheduler, asked: Sequence[GenerationRequest]) -> list[SequenceState]:
    """Queue a sequence for each of these, behind all that are there."""
    start = len(tuple(target.sequences()))
    arrived = [sequence(each, start + i) for i, each in enumerate(asked)]
    for each in arrived:
        target.add(each)
    return arrived


def arrive(
    target: Scheduler, *lengths: int, committed: Committed | None = None, **fields: object
) -> list[SequenceState]:
    """Queue sequences with prompts of these lengths, no two of which begin alike."""
    start, before = len(tuple(target.sequences())), {} if committed is None else {0: committed}
    asked = [request([start + i, *range(n - 1)], 100, **fields) for i, n in enumerate(lengths)]
    return queue(target, [replace(each, committed=before) for each in asked])


def moved(target: Scheduler, *lengths: int, said: int = 5, **fields: object) -> list[SequenceState]:
    """Queue sequences with prompts of these lengths, of which as many tokens were generated elsewhere."""
    return arrive(target, *lengths, committed=Committed([7] * said), moved=True, **fields)


def share(
    target: Scheduler,
    prompts: list[list[int]],
    salts: list[str] | None = None,
    tenant: str = "",
    part: float = 1.0,
    priority: int = 0,
) -> list[SequenceState]:
    """Queue sequences with these prompts."""
    return queue(
        target,
        [
            request(prompt, 100, cache_salt=salt, tenant=tenant, share=part, priority=priority)
            for prompt, salt in zip(prompts, salts or [""] * len(prompts), strict=True)
        ],
    )


def run(target: Scheduler, step: list[Work]) -> None:
    """Do what a step would: compute, and append the tokens that are certain."""
    target.advance(step, [said(work) for work in step])


def said(work: Work) -> list[int]:
    """What a work yields from a model that says 0 0 0 0 0 1 1 1 1 1 2 2 2 2 2 and begins again."""
    tokens: list[int] = []
    for foreseen in (*work.draft, None)[: work.samples * 99]:
        tokens.append((work.sequence.generated + len(tokens)) // 5 % 3)
        if tokens[-1] != foreseen:
            break
    return tokens


def counts(step: list[Work]) -> dict[int, int]:
    """Tokens planned per arrival."""
    return {work.sequence.arrival: work.count for work in step}


def paced() -> Pacing:
    """Pacing that knows its machine."""
    pacing = Pacing()
    for rows in (1, 4, 16, 64, 300) * 5:
        pacing.observe(rows, 25 + 8 * rows)
    return pacing


def steps_until(target: Scheduler, awaited: SequenceState) -> int:
    """Steps until a sequence has its first token."""
    for steps in range(1, 1000):
        run(target, target.schedule())
        if awaited.generated:
            return steps
    raise AssertionError("it has none")
