"""The scheduler's policy, with no model and no clock."""

from dataclasses import dataclass, replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from inferloom_worker.engine.constraint import Matcher, PortableConstraint
from inferloom_worker.engine.options import SpeculationSetting
from inferloom_worker.engine.request import Committed
from inferloom_worker.stepping.blocks import BLOCK_TOKENS, BlockPool, blocks_for
from inferloom_worker.stepping.pacing import LEAST_ROWS, Pacing
from inferloom_worker.stepping.scheduler import MOST_MATCHER_BYTES, MOVED_WEIGHT, Scheduler
from inferloom_worker.stepping.sequence import SequenceState
from inferloom_worker.stepping.speculation import Speculation
from inferloom_worker.stepping.work import Work
from tests.worker.engines import request


def scheduler(
    blocks: int = 64, running: int = 8, budget: int = 32, drafts: SpeculationSetting = "off"
) -> Scheduler:
    """A scheduler over a pool of ``blocks``."""
    return Scheduler(
        BlockPool(blocks), Speculation(drafts, Pacing()), max_running=running, max_step_tokens=budget
    )


def arrive(
    target: Scheduler, *lengths: int, committed: Committed | None = None, **fields: object
) -> list[SequenceState]:
    """Queue sequences with prompts of these lengths."""
    start = len(tuple(target.sequences()))
    arrived = [
        SequenceState(
            replace(
                request([start + i, *range(n - 1)], 100, **fields),
                committed={} if committed is None else {0: committed},
            ),
            mailbox=None,  # type: ignore[arg-type] # nobody hears it
            choice=0,
            arrival=start + i,
            submitted_at=0.0,
        )
        for i, n in enumerate(lengths)
    ]
    for sequence in arrived:
        target.add(sequence)
    return arrived


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


def test_a_long_prompt_is_read_in_chunks_beside_decoding() -> None:
    """Running streams get their token in every step; the prompt takes what is left of the budget."""
    target = scheduler()
    arrive(target, 10)
    run(target, target.schedule())
    arrive(target, 80)
    steps = []
    for _ in range(4):
        step = target.schedule()
        steps.append(counts(step))
        run(target, step)
    assert steps == [{0: 1, 1: 31}, {0: 1, 1: 31}, {0: 1, 1: 18}, {0: 1, 1: 1}]


def test_a_step_has_no_more_rows_than_end_in_time() -> None:
    """Those that decode are always in it, and a prompt gets on a little beside them."""
    target = scheduler(blocks=2000, running=64, budget=512)
    arrive(target, *[4] * 20)
    run(target, target.schedule(None, 512))
    arrive(target, 300)
    step = target.schedule(None, 40)
    assert sum(counts(step).values()) == 40
    run(target, step)
    step = target.schedule(None, 1)
    assert [counts(step)[arrival] for arrival in range(20)] == [1] * 20
    assert counts(step)[20] == LEAST_ROWS


def moved(target: Scheduler, *lengths: int, said: int = 5, **fields: object) -> list[SequenceState]:
    """Queue sequences with prompts of these lengths, of which as many tokens were generated elsewhere."""
    return arrive(target, *lengths, committed=Committed([7] * said), moved=True, **fields)


def test_what_stands_still_is_read_faster() -> None:
    """Beside one that decodes, an answer that was generated elsewhere asks for more of a step than one that
    begins; no longer when it goes on."""
    for new, weight in ((arrive, 1), (moved, MOVED_WEIGHT)):
        wanted: list[int] = []

        def rows(decoding: int, reading: int, wanted: list[int] = wanted) -> int:
            wanted.append(reading)
            return 32

        target = scheduler()
        arrive(target, 4)
        run(target, target.schedule(rows))
        new(target, 20)
        for _ in range(2):
            run(target, target.schedule(rows))
        assert wanted == [weight, 0]


def test_one_that_stands_still_is_read_at_once_beside_many() -> None:
    """Others that stood still with it wait for its first token."""
    pacing = paced()
    steps = []
    for new in (arrive, moved):
        target = scheduler(blocks=2000, running=64, budget=512)
        arrive(target, *[40] * 8)
        while any(each.remaining > 1 for each in target.sequences()):
            run(target, target.schedule(pacing.prompt_rows))
        (came,) = new(target, 65)
        steps.append(0)
        while came.remaining > 1:
            run(target, target.schedule(pacing.prompt_rows))
            steps[-1] += 1
    plain, quick = steps
    assert quick <= 0.5 * plain


def test_what_was_generated_elsewhere_is_read_as_one_prompt_before_what_is_new() -> None:
    """Beside a prompt that is being read it has half, and the rest goes on; what waits comes behind it."""
    target = scheduler()
    arrive(target, 100)
    run(target, target.schedule())
    arrive(target, 10)
    (there,) = moved(target, 25)
    first = target.schedule()
    assert counts(first) == {2: 16, 0: 16}
    run(target, first)
    second = target.schedule()
    assert counts(second) == {2: 14, 0: 18}
    run(target, second)
    assert there.remaining == 1
    assert counts(target.schedule()) == {2: 1, 0: 31}


def test_who_reads_already_is_made_to_wait_less() -> None:
    """Sixteen streams, half of which come from a lost worker, beside a long prompt that is new: the steps
    until all go on are far fewer, and none of them is much longer for those that were there."""
    seen = []
    for known in (False, True):
        pacing = paced()
        target = scheduler(blocks=2000, running=64, budget=512)
        arrive(target, *[40] * 8)
        while any(each.remaining > 1 for each in target.sequences()):
            run(target, target.schedule(pacing.prompt_rows))
        arrive(target, 2000)
        run(target, target.schedule(pacing.prompt_rows))
        came = moved(target, *[60] * 8, said=60)
        for each in came:
            each.moved = known
        steps, longest = 0, 0
        while any(each.remaining > 1 for each in came):
            step = target.schedule(pacing.prompt_rows)
            run(target, step)
            steps, longest = steps + 1, max(longest, sum(work.rows for work in step))
        seen.append((steps, longest))
    (plain, short), (steps, longest) = seen
    assert steps < 0.35 * plain
    assert longest <= 2 * short


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


def test_what_was_generated_elsewhere_is_no_way_past_a_higher_priority() -> None:
    """A request may say of anything that some of it was."""
    target = scheduler(blocks=4000)
    (urgent,) = share(target, [list(range(30))], tenant="b", priority=5)
    moved(target, *[500] * 40, said=1, tenant="a")
    assert steps_until(target, urgent) == 1


@pytest.mark.parametrize("tenant", ["a", "b"])
def test_what_was_generated_elsewhere_keeps_nothing_new_waiting(tenant: str) -> None:
    """Neither another tenant's nor its own tenant's, before or after its prompts have begun to be read."""
    for begun in (0, 3):
        target = scheduler(blocks=4000)
        moved(target, *[500] * 40, said=1, tenant="a")
        for _ in range(begun):
            run(target, target.schedule())
        (new,) = share(target, [list(range(30))], tenant=tenant)
        assert steps_until(target, new) <= 4


def test_what_was_generated_elsewhere_is_charged_as_what_is_read() -> None:
    """A tenant whose streams were lost pays for their prompts once, as others do."""
    target = scheduler(running=1, budget=200)
    moved(target, 60, tenant="a")
    share(target, [list(range(100, 200))], tenant="b")
    share(target, [list(range(300, 310))], tenant="a")
    share(target, [list(range(400, 410))], tenant="b")
    order = []
    for _ in range(4):
        run(target, target.schedule())
        (sequence,) = target.running
        order.append(sequence.arrival)
        target.remove(sequence)
    assert order == [0, 1, 2, 3]


def test_of_one_tenants_the_moved_and_the_new_take_turns() -> None:
    """The moved go first, and half of the places stay for the others."""
    target = scheduler(blocks=4000, budget=400)
    share(target, [[100 * i + k for k in range(20)] for i in range(10)])
    came = moved(target, *[20] * 10)
    run(target, target.schedule())
    assert sum(each.moved for each in target.running) == 4
    assert len(target.running) == 8
    target.remove(next(each for each in target.running if each.moved))
    run(target, target.schedule())
    assert came[4] in target.running


def test_moved_sequences_that_cannot_join_make_no_step_longer() -> None:
    """Than as many others that wait."""
    rows = []
    for known in (False, True):
        pacing = paced()
        target = scheduler(blocks=2000, running=5, budget=512)
        arrive(target, *[40] * 4)
        while any(each.remaining > 1 for each in target.sequences()):
            run(target, target.schedule(pacing.prompt_rows))
        arrive(target, 500)
        run(target, target.schedule(pacing.prompt_rows))
        for each in moved(target, *[150] * 10):
            each.moved = known
        rows.append(sum(work.rows for work in target.schedule(pacing.prompt_rows)))
    assert rows[0] == rows[1]


def test_a_moved_sequence_takes_no_memory_that_a_prompt_still_needs() -> None:
    """It waits until both fit, which costs nobody a step that is computed twice."""
    target = scheduler(blocks=40, budget=64)
    (first,) = arrive(target, 500)
    run(target, target.schedule())
    came = moved(target, 150, 150, 150)
    assert steps_until(target, first) == 7
    assert not any(each.preempted for each in came)
    assert target.short_of_memory


def test_whoever_lacks_memory_is_remembered_when_others_have_joined() -> None:
    """Moved sequences are tried first, and no row may be left for anybody else."""
    target = scheduler(blocks=40, budget=64)
    arrive(target, 500)
    run(target, target.schedule())
    moved(target, 300)
    target.schedule()
    assert target.short_of_memory


def test_moved_sequences_that_do_not_fit_give_way_to_earlier_ones() -> None:
    """Whatever room there is, everybody comes to his end."""
    target = scheduler(blocks=16, budget=16)
    sequences = [*arrive(target, 60, 100), *moved(target, 90, 40), *arrive(target, 30)]
    for _ in range(2000):
        for each in sequences:
            if each.generated >= 20:
                target.remove(each)
        if not (step := target.schedule()):
            break
        assert sum(work.rows for work in step) <= 16
        assert len({work.sequence for work in step}) == len(step)
        run(target, step)
    assert not tuple(target.sequences())
    assert target.pool.free == 16


def test_sequences_join_in_order_up_to_the_limit() -> None:
    """No more than ``max_running`` run, and the first to come is the first to run."""
    target = scheduler(running=2)
    first, second, third = arrive(target, 5, 5, 5)
    assert counts(target.schedule()) == {0: 5, 1: 5}
    target.remove(first)
    run(target, [Work(second, 5, True)])
    assert counts(target.schedule()) == {1: 1, 2: 5}
    assert third in target.running


def test_the_latest_gives_way_when_memory_runs_out() -> None:
    """A sequence that needs a block takes it from the latest arrival, which starts over from its tokens."""
    target = scheduler(blocks=4, budget=64)
    early, late = arrive(target, 2 * BLOCK_TOKENS - 1, BLOCK_TOKENS)
    for _ in range(2):
        run(target, target.schedule())
    assert counts(target.schedule()) == {0: 1, 1: 1} or late.preempted
    while not late.preempted:
        run(target, target.schedule())
    assert early in target.running
    assert (late.computed, late.blocks) == (0, [])
    assert late in target.waiting


def test_removing_frees_everything_and_twice_is_harmless() -> None:
    """Waiting and running sequences leave without a trace."""
    target = scheduler(running=1)
    running, waiting = arrive(target, 20, 20)
    target.schedule()
    for sequence in (running, waiting, running, waiting):
        target.remove(sequence)
    assert target.pool.free == target.pool.count
    assert target.schedule() == []


def share(
    target: Scheduler,
    prompts: list[list[int]],
    salts: list[str] | None = None,
    tenant: str = "",
    part: float = 1.0,
    priority: int = 0,
) -> list[SequenceState]:
    """Queue sequences with these prompts."""
    start = len(tuple(target.sequences()))
    arrived = [
        SequenceState(
            request(p, 100, cache_salt=salt, tenant=tenant, share=part, priority=priority),
            mailbox=None,  # type: ignore[arg-type] # nobody hears it
            choice=0,
            arrival=start + i,
            submitted_at=0.0,
        )
        for i, (p, salt) in enumerate(zip(prompts, salts or [""] * len(prompts), strict=True))
    ]
    for sequence in arrived:
        target.add(sequence)
    return arrived


COMMON = list(range(1000, 1000 + 4 * BLOCK_TOKENS))


def test_a_prompt_that_begins_alike_computes_only_what_is_new() -> None:
    """After one prompt was read, another with the same beginning shares its blocks."""
    target = scheduler(budget=256)
    (first,) = share(target, [[*COMMON, 1, 2, 3]])
    run(target, target.schedule())
    target.remove(first)
    (second,) = share(target, [[*COMMON, 7, 8]])
    assert counts(target.schedule()) == {0: 2}
    assert second.reused == len(COMMON)


def test_a_prompt_seen_whole_still_computes_its_last_token() -> None:
    """The last token's logits are needed, so its block is computed again."""
    target = scheduler(budget=256)
    (first,) = share(target, [COMMON])
    run(target, target.schedule())
    target.remove(first)
    (second,) = share(target, [COMMON])
    assert counts(target.schedule()) == {0: BLOCK_TOKENS}
    assert second.reused == len(COMMON) - BLOCK_TOKENS


def test_an_answer_is_reused_by_the_next_turn() -> None:
    """Generated tokens are known like prompt tokens."""
    target = scheduler(budget=256)
    (first,) = share(target, [COMMON])
    while first.generated < 2 * BLOCK_TOKENS:
        run(target, target.schedule())
    target.remove(first)
    (second,) = share(target, [[*first.tokens, 5]])
    target.schedule()
    assert second.reused >= len(COMMON) + BLOCK_TOKENS


def test_others_wait_for_a_beginning_that_is_being_computed() -> None:
    """Prompts that arrive together and begin alike are read once; a different one is not held up."""
    target = scheduler(budget=32)
    share(target, [[*COMMON, 1], [*COMMON, 2], list(range(20))])
    steps = []
    for _ in range(5):
        step = target.schedule()
        steps.append(counts(step))
        run(target, step)
    assert sum(step.get(0, 0) for step in steps) >= len(COMMON) + 1
    assert sum(step.get(1, 0) for step in steps) < BLOCK_TOKENS
    assert any(2 in step for step in steps)


def test_a_beginning_whose_owner_leaves_is_computed_by_the_next() -> None:
    """An abort in the middle of a prompt leaves nobody waiting."""
    target = scheduler(budget=16)
    first, second = share(target, [[*COMMON, 1], [*COMMON, 2]])
    run(target, target.schedule())
    target.remove(first)
    assert counts(target.schedule()) == {1: 16}
    assert second.reused == BLOCK_TOKENS


def test_tenants_share_nothing() -> None:
    """Another salt finds nothing."""
    target = scheduler(budget=256)
    (first,) = share(target, [[*COMMON, 1]], ["a"])
    run(target, target.schedule())
    target.remove(first)
    (second,) = share(target, [[*COMMON, 1]], ["b"])
    target.schedule()
    assert second.reused == 0


def test_the_least_recently_used_beginning_goes_first() -> None:
    """When memory is needed, old prompts are forgotten, the end of each before its beginning."""
    target = scheduler(blocks=10, budget=256)
    other = [t + 5000 for t in COMMON]
    for prompt in ([*COMMON, 1], [*other, 1]):
        (sequence,) = share(target, [prompt])
        run(target, target.schedule())
        target.remove(sequence)
    (large,) = share(target, [list(range(3 * BLOCK_TOKENS))])
    run(target, target.schedule())
    target.remove(large)
    (new,) = share(target, [[*other, 2]])
    target.schedule()
    assert new.reused == len(COMMON)
    target.remove(new)
    (old,) = share(target, [[*COMMON, 2]])
    target.schedule()
    assert old.reused < len(COMMON)


def test_priority_goes_first_and_gives_way_last() -> None:
    """A waiting sequence of higher priority is admitted first; in need, the lowest priority is preempted."""
    target = scheduler(running=1)
    low, high = (
        SequenceState(request([i] * 5, 100, priority=p), mailbox=None, choice=0, arrival=i, submitted_at=0.0)  # type: ignore[arg-type]
        for i, p in enumerate([0, 3])
    )
    target.add(low)
    target.add(high)
    assert counts(target.schedule()) == {1: 5}
    tight = scheduler(blocks=3)
    tight.add(high)
    run(tight, tight.schedule())
    tight.add(low)
    while not low.preempted and high.generated < 3 * BLOCK_TOKENS - 6:
        run(tight, tight.schedule())
    assert (low.preempted, high.preempted) == (True, False)


def test_a_tenant_that_asks_little_is_not_behind_one_that_asks_much() -> None:
    """With one place, tenants take turns by what they were served, whatever the queue and the salts."""
    target = scheduler(running=1)
    prompts = [[100 * i + k for k in range(8)] for i in range(6)]
    share(target, prompts[:5], [f"salt {i}" for i in range(5)], tenant="greedy")
    order = []
    run(target, target.schedule())
    (modest,) = share(target, prompts[5:], tenant="modest")
    while target.running:
        (sequence,) = target.running
        order.append(sequence.request.tenant)
        target.remove(sequence)
        run(target, target.schedule())
    assert order == ["greedy", "greedy", "modest", "greedy", "greedy", "greedy"]
    assert modest.generated == 1


def test_a_tenant_with_twice_the_share_has_twice_the_turns() -> None:
    """While both wait, whatever came first."""
    target = scheduler(running=1)
    prompts = [[100 * i + k for k in range(8)] for i in range(16)]
    share(target, prompts[:8], tenant="small")
    share(target, prompts[8:], tenant="large", part=2.0)
    order = []
    for _ in range(9):
        run(target, target.schedule())
        (sequence,) = target.running
        order.append(sequence.request.tenant)
        target.remove(sequence)
    assert (order.count("large"), order.count("small")) == (6, 3)


def test_a_draft_is_computed_behind_its_sequences_last_token() -> None:
    """What it foresees is right, then wrong; the sequence goes on from the last token that is certain."""
    target = scheduler(drafts=4)
    (sequence,) = share(target, [[5, 0, 0, 0, 7, 8, 5, 0]])
    run(target, target.schedule())
    (work,) = target.schedule()
    assert (work.count, work.draft, work.rows) == (1, (0, 7, 8, 5), 5)
    run(target, [work])
    assert sequence.tokens[-3:] == [0, 0, 0]
    assert sequence.remaining == 1


class Forcing:
    """A constraint that leaves one token at a time."""

    ended = False

    def forced(self) -> list[int]:
        """Many."""
        return [7] * 99


def test_forced_tokens_end_in_time_as_well() -> None:
    """They are rows of the step like any others."""
    target = scheduler(blocks=200, budget=512)
    for sequence in arrive(target, 3, 2):
        sequence.matcher = Forcing()  # type: ignore[assignment] # nothing else is asked of it
    assert sum(work.rows for work in target.schedule(None, 40)) == 40


def test_forced_tokens_are_bounded_by_the_logits_of_a_step() -> None:
    """All sequences' together, and beside the prompts whose logits are wanted."""
    target = scheduler(budget=64)
    target.max_step_scores = 10
    for sequence in share(target, [[5, 6, 7], [8, 9]]):
        sequence.matcher = Forcing()  # type: ignore[assignment] # nothing else is asked of it
    assert [len(work.draft) for work in target.schedule()] == [10, 0]


def test_blocks_with_wrong_guesses_are_not_shared() -> None:
    """The state of what was not said is no beginning of anything."""
    target = scheduler(budget=64, drafts=8)
    prompt = [5, 0, *range(100, 100 + BLOCK_TOKENS - 5), 5]  # two places are left in its block
    (first,) = share(target, [prompt])
    run(target, target.schedule())
    (work,) = target.schedule()
    assert work.draft[1:] == tuple(range(101, 108))
    run(target, [work])
    target.remove(first)
    (second,) = share(target, [[*prompt, 0, *work.draft, 9]])
    target.schedule()
    assert second.reused == 0


def test_nobody_gives_way_to_a_guess() -> None:
    """A draft that needs a block which another may need is left out."""
    target = scheduler(blocks=3, budget=64, drafts=8)
    (first,) = share(target, [[5, 0, *range(100, 100 + BLOCK_TOKENS - 5), 5]])
    (second,) = share(target, [[6] * 3])
    run(target, target.schedule())
    step = target.schedule()
    assert [(work.sequence, work.draft) for work in step] == [(first, ()), (second, ())]


@settings(max_examples=60)
@given(
    lengths=st.lists(st.integers(1, 150), min_size=1, max_size=12),
    elsewhere=st.lists(st.integers(5, 120), max_size=4),
    blocks=st.integers(16, 40),
    budget=st.integers(4, 64),
    drafts=st.sampled_from(["off", 1, 8]),
)
def test_everyone_finishes_whatever_the_sizes(
    lengths: list[int], elsewhere: list[int], blocks: int, budget: int, drafts: SpeculationSetting
) -> None:
    """Every sequence gets its tokens, no step exceeds its budget, no block has two owners."""
    target = scheduler(blocks=blocks, running=5, budget=budget, drafts=drafts)
    unfinished = set(arrive(target, *lengths))
    for each in moved(target, *elsewhere, said=0):
        each.moved = True
        unfinished.add(each)
    for _ in range(20_000):
        step = target.schedule()
        assert sum(work.rows for work in step) <= budget
        owned = [b for s in target.running for b in s.blocks]
        assert len(set(owned)) == target.pool.count - target.pool.free
        assert all(len(w.sequence.blocks) >= blocks_for(w.sequence.computed + w.rows) for w in step)
        run(target, step)
        for sequence in [s for s in unfinished if s.generated >= 20]:
            assert sequence.tokens[-sequence.generated :][:20] == [i // 5 % 3 for i in range(20)]
            target.remove(sequence)
            unfinished.discard(sequence)
        if not unfinished:
            break
        assert step, "somebody waits and nobody runs"
    assert not unfinished


def test_prompts_are_paced_by_who_decodes_and_who_waits() -> None:
    """Beside decoding, a step reads what pacing allows for the sequences that decode and those that read."""
    target = scheduler(running=2)
    arrive(target, 1)
    run(target, target.schedule())
    arrive(target, 40, 40, 40)
    asked: list[tuple[int, int]] = []

    def prompt_rows(decoding: int, reading: int) -> int:
        asked.append((decoding, reading))
        return 5

    steps = [target.schedule(prompt_rows)]
    run(target, steps[0])
    steps.append(target.schedule(prompt_rows))
    assert asked == [(1, 3), (1, 3)]
    assert [[work.count for work in step] for step in steps] == [[1, 5], [1, 5]]


@dataclass
class Heavy:
    """A constraint whose matchers take memory, and are counted."""

    bytes: int
    made: int = 0

    @property
    def portable(self) -> PortableConstraint:
        """Nobody asks."""
        raise AssertionError

    def matcher(self) -> Matcher | None:
        """None that does anything."""
        self.made += 1
        return None


def test_matchers_of_those_who_run_fit_into_memory() -> None:
    """Who asks for much waits for others to end, and who asks for less does not wait for him. One alone runs
    whatever it takes."""
    target = scheduler(running=8, budget=64)
    half = Heavy(MOST_MATCHER_BYTES // 2)
    heavy = arrive(target, 4, 4, 4, constraint=half)
    (free,) = arrive(target, 5)
    (light,) = arrive(target, 6, constraint=Heavy(0))
    run(target, target.schedule())
    assert target.running == [heavy[0], heavy[1], free, light]
    target.remove(heavy[0])
    run(target, target.schedule())
    assert heavy[2] in target.running

    alone = scheduler()
    (huge,) = arrive(alone, 4, constraint=Heavy(9 * MOST_MATCHER_BYTES))
    alone.schedule()
    assert alone.running == [huge]


def test_a_grammar_that_takes_much_gets_its_turn() -> None:
    """While it waits no other that takes memory goes before it, and everything else does."""
    target = scheduler(running=8, budget=64)
    small = Heavy(MOST_MATCHER_BYTES // 8)
    for _ in range(7):
        arrive(target, 4, constraint=small)
    run(target, target.schedule())
    (large,) = arrive(target, 5, constraint=Heavy(MOST_MATCHER_BYTES // 2))
    for left in (6, 5, 4):  # one ends, and another like it comes
        target.remove(target.running[0])
        (other,) = arrive(target, 4, constraint=small)
        run(target, target.schedule())
        assert (large in target.running) is (left == 4)
        assert other in target.waiting
    target.remove(target.running[0])
    (free,) = arrive(target, 4)
    run(target, target.schedule())
    assert free in target.running


def test_who_waits_in_vain_counts_once_wherever_it_comes_from() -> None:
    """Steps are longer by the number of those that wait, and by no more for an answer that cannot join."""
    target = scheduler(running=2)
    arrive(target, 1)
    run(target, target.schedule())
    arrive(target, 40)
    target.schedule()
    moved(target, 40)
    asked: list[tuple[int, int]] = []

    def prompt_rows(decoding: int, reading: int) -> int:
        asked.append((decoding, reading))
        return 5

    target.schedule(prompt_rows)
    assert asked == [(1, 2)]
