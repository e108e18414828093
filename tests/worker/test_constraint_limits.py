"""A grammar that takes too much is refused or ends its own request, and nothing else waits for it."""

import json
import random
import sys
import threading
import time
from collections.abc import Sequence

import numpy as np
import pytest
from llguidance import LLTokenizer

from inferloom_mesh.errors import InferloomError, Reason
from inferloom_worker.constrain import compiler, trials
from inferloom_worker.constrain import matcher as compiled
from inferloom_worker.constrain.compiler import GrammarCompiler
from inferloom_worker.constrain.grammar import Grammar, Kind
from inferloom_worker.constrain.source import source
from inferloom_worker.constrain.trials import Trials
from inferloom_worker.constrain.vocabulary import from_bytes
from inferloom_worker.engine.constraint import ConstraintError, Mask
from inferloom_worker.hosting.generator import COMPILING_S
from inferloom_worker.stepping import masks
from inferloom_worker.stepping.masks import MaskFiller, MaskWork
from inferloom_worker.stepping.outcome import NO_TIME, verify
from inferloom_worker.stepping.sampler import SampledToken
from inferloom_worker.stepping.sequence import SequenceState
from inferloom_worker.stepping.thread_clock import ThreadClock
from inferloom_worker.stepping.work import Work
from inferloom_worker.text.job import Job, TimeUp
from inferloom_worker.text.tokenizer import Tokenizer
from tests.patience import PATIENCE_S
from tests.worker.engines import request

HOSTILE = "start: T\nT: " + " & ".join(f"/(.*x.{{{i}}}y.*)/" for i in range(1, 25))


@pytest.fixture
def tried() -> Trials:
    """A process with a vocabulary of single bytes."""
    return Trials((from_bytes, ([*(bytes([i]) for i in range(256)), b"<end>"], [256], [256])))


def test_compiling_ends_at_its_limit(tried: Trials, monkeypatch: pytest.MonkeyPatch) -> None:
    """The next grammar is tried as if nothing had been."""
    assert tried.verdict('start: "a"').refusal == ""
    with monkeypatch.context() as patched:
        patched.setattr(trials, "PROCESSOR_S", 0.1)
        assert tried.verdict(HOSTILE).refusal == "it takes more than 0.1 s to compile"
    assert tried.verdict('start: "a"').refusal == ""
    assert "nothing" in tried.verdict("start: nothing").refusal
    tried.close()


def test_a_caller_who_is_ended_while_he_waits_holds_up_nobody(
    tried: Trials, monkeypatch: pytest.MonkeyPatch
) -> None:
    """He is ended at the very moment that his turn comes."""
    monkeypatch.setattr(trials, "WAIT_S", 10.0)
    ended: list[type[BaseException]] = []
    job = Job(lambda: tried.verdict('start: "a"').refusal, None, time.thread_time)

    def call() -> None:
        try:
            job.run()
        except TimeUp as end:
            ended.append(type(end))

    waiting = threading.Thread(target=call)
    with tried._lock:
        waiting.start()
        while sys._current_frames()[waiting.ident or 0].f_code.co_name != "verdict":
            time.sleep(0.01)
        time.sleep(0.05)  # from there to the lock; who is ended on the way is ended as well
        job.end()
    waiting.join()
    assert ended == [TimeUp]
    monkeypatch.setattr(trials, "WAIT_S", 0.2)
    assert tried._process is None
    free = tried._lock.acquire(timeout=PATIENCE_S)
    assert free
    tried._lock.release()


def test_a_process_that_ends_is_a_refusal(tried: Trials) -> None:
    """As where memory is over."""
    assert tried.verdict('start: "a"').refusal == ""
    assert tried._process is not None
    tried._process._process.kill()
    tried._process._process.wait()
    assert tried.verdict('start: "b"').refusal == ""
    tried.close()


def test_a_large_schema_is_refused_in_words(
    smollm_tokenizer: Tokenizer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At the field that it came from."""
    monkeypatch.setattr(trials, "PROCESSOR_S", 0.1)
    compiler = GrammarCompiler(smollm_tokenizer, smollm_tokenizer.vocab_size)
    huge = json.dumps({"properties": {f"property{i}": {"type": "string"} for i in range(6000)}})
    with pytest.raises(InferloomError, match="takes more than") as caught:
        compiler.compile(Grammar(huge, "constraint.json_schema", Kind.JSON_SCHEMA))
    assert caught.value.param == "constraint.json_schema"


def test_grammars_are_kept_as_far_as_memory_goes(
    smollm_tokenizer: Tokenizer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The last ones, and none that is larger than all may be."""
    made = GrammarCompiler(smollm_tokenizer, smollm_tokenizer.vocab_size)

    def kept(*texts: str) -> list[str]:
        for text in texts:
            made.compile(Grammar(text, "constraint.choice", Kind.CHOICE))
        return [text for _, text in made._kept._values]

    small = [json.dumps([f"choice {i}"]) for i in range(3)]
    assert kept(*small) == small
    one = max(size for _, size in made._kept._values.values())
    monkeypatch.setattr(made._kept, "_most_bytes", 2 * one)
    assert kept('["choice 3"]') == [small[2], '["choice 3"]']
    assert kept(json.dumps(["x" * 500])) == []


def test_the_memory_of_a_grammar_is_measured(tried: Trials) -> None:
    """Of each anew: the one before has given its own back."""
    properties = {f"property{i}": {"type": "string"} for i in range(600)}
    large = source(Grammar(json.dumps({"properties": properties}), "schema", Kind.JSON_SCHEMA)).text
    assert tried.verdict('start: "a"').bytes < 2**21
    assert [tried.verdict(large).bytes > 2**21 for _ in range(3)] == [True] * 3
    tried.close()


class Scripted:
    """A matcher that allows token 3, and says so when it is let."""

    ended = False

    def __init__(
        self, gate: threading.Event | None = None, fails: bool = False, fails_after: int | None = None
    ) -> None:
        self.gate, self.fails, self.fails_after = gate, fails, fails_after
        self.accepted = 0

    def fill(self, mask: Mask) -> bool:
        """Wait, fail, or allow."""
        if self.gate is not None:
            self.gate.wait()
        if self.fails or self.accepted == self.fails_after:
            raise ConstraintError("no")
        mask[:] = 0
        mask[0] = 1 << 3
        return True

    def allowed(self, tokens: Sequence[int]) -> int:
        """All of them."""
        return len(tokens)

    def forced(self) -> Sequence[int]:
        """None."""
        return ()

    def accept(self, token: int) -> None:
        """Count."""
        self.accepted += 1

    def replay(self, tokens: Sequence[int]) -> None:
        """Count."""
        self.accepted += len(tokens)

    def rollback(self, count: int) -> None:
        """Count."""
        self.accepted -= count


class Counted:
    """A clock of threads that have computed for long."""

    seconds = 99.0


def test_a_mask_that_is_late_is_an_error_of_its_own_sequence(monkeypatch: pytest.MonkeyPatch) -> None:
    """Others have theirs, in this step and in the next."""
    monkeypatch.setattr(masks, "LIMIT_S", 1.0)
    monkeypatch.setattr(masks, "ThreadClock", Counted)
    gate, filler = threading.Event(), MaskFiller()
    slow, good = Scripted(gate), Scripted()
    first, second = filler.start([MaskWork(slow), MaskWork(good, (3, 3))], 40).wait()
    assert [place.error is not None for place in first] == [True]
    assert [place.words is not None and int(place.words[0]) for place in second] == [8, 8, 8]
    assert good.accepted == 0
    (again,) = filler.start([MaskWork(good)], 40).wait()
    assert again[0].words is not None
    before = again[0].words.copy()
    gate.set()
    assert (again[0].words == before).all()
    filler.close()


def test_a_matcher_that_fails_fails_at_its_place() -> None:
    """Past a token that ends the choice no place is looked at."""
    filler = MaskFiller()
    failing, ending = Scripted(fails=True), Scripted()
    first, second = filler.start(
        [MaskWork(failing, (3,)), MaskWork(ending, (3, 9, 3), frozenset({9}))], 40
    ).wait()
    assert str(first[0].error) == "no"
    assert [place.words is not None for place in second] == [True, True, False, False]
    filler.close()


def test_a_mask_that_waits_for_others_has_a_limit_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is no fault of its sequence that threads are taken."""
    monkeypatch.setattr(masks, "LIMIT_S", 1.0)
    monkeypatch.setattr(masks, "_THREADS", 1)
    monkeypatch.setattr(masks, "ThreadClock", Counted)
    gate, filler = threading.Event(), MaskFiller()
    slow, good, slow_too = Scripted(gate), Scripted(), Scripted(gate)
    first, second, third = filler.start([MaskWork(each) for each in (slow, good, slow_too)], 40).wait()
    gate.set()
    assert first[0].error is not None
    assert second[0].words is not None
    assert second[0].words[0] == 8
    assert third[0].error is not None
    filler.close()


def test_a_mask_for_which_there_was_no_time_is_nobodys_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where a machine stands still, or has much to do, as threads that compute nothing show."""
    monkeypatch.setattr(masks, "LIMIT_S", 1.0)
    gate, filler = threading.Event(), MaskFiller()
    waiting, good = Scripted(gate), Scripted()
    first, second = filler.start([MaskWork(waiting), MaskWork(good)], 40).wait()
    gate.set()
    assert (first[0].late, first[0].error) == (True, None)
    assert second[0].words is not None
    sequence = SequenceState(request([1], 9), mailbox=None, choice=0, arrival=0, submitted_at=0.0)  # type: ignore[arg-type]
    outcome = verify(Work(sequence, 1, samples=True), [SampledToken(3, None)], first)
    assert (outcome.failure, outcome.by_constraint) == (NO_TIME, False)
    filler.close()


def test_the_time_of_a_thread_is_what_it_computes() -> None:
    """Seen from another."""
    clocks: list[ThreadClock] = []
    burnt, gate = threading.Event(), threading.Event()

    def burn() -> None:
        clocks.append(ThreadClock())
        began = time.thread_time()
        while time.thread_time() - began < 0.1:
            pass
        burnt.set()
        gate.wait(PATIENCE_S)

    thread = threading.Thread(target=burn)
    thread.start()
    assert burnt.wait(PATIENCE_S)
    seen = clocks[0].seconds
    time.sleep(0.3)
    assert 0.1 <= clocks[0].seconds < seen + 0.1
    gate.set()
    thread.join()


def test_a_draft_that_fails_leaves_its_sequence_where_it_was() -> None:
    """What the model says may be another way."""
    filler, failing = MaskFiller(), Scripted(fails_after=2)
    (found,) = filler.start([MaskWork(failing, (3, 3, 3))], 40).wait()
    assert [place.words is not None for place in found] == [True, True, False, False]
    assert str(found[2].error) == "no"
    assert failing.accepted == 0
    filler.close()


def test_a_grammar_that_failed_can_be_taken_back(smollm_tokenizer: Tokenizer) -> None:
    """As far as it was followed, and on by another way."""
    width = smollm_tokenizer.vocab_size
    compiler = GrammarCompiler(smollm_tokenizer, width)
    matcher = compiler.compile(Grammar("[0-9]{3}", "constraint.regex", Kind.REGEX)).matcher()
    one, two, letter = (smollm_tokenizer.encode(text, add_special_tokens=False)[0] for text in "12a")
    matcher.accept(one)
    for taken in (0, 1):
        for _ in range(taken):
            matcher.accept(two)
        with pytest.raises(ConstraintError):
            matcher.accept(letter)
        matcher.rollback(taken)
    assert matcher.allowed([two, one]) == 2
    matcher.accept(two)
    matcher.accept(one)
    assert matcher.ended


def test_who_waits_for_a_process_that_starts_does_not_end_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where that takes long, as with large vocabularies on slow machines, one of the next finds it ready."""
    monkeypatch.setattr(trials, "START_WAIT_S", 0.01)
    tried = Trials((_slowly, ()))
    with pytest.raises(InferloomError, match="Other grammars"):
        tried.verdict('start: "a"')
    first = tried._process
    assert first is not None
    assert first.ready.wait(PATIENCE_S)
    monkeypatch.setattr(trials, "WAIT_S", PATIENCE_S)
    assert tried.verdict('start: "a"').refusal == ""
    assert tried._process is first
    tried.close()


def test_a_start_is_waited_for_as_long_as_it_may_take(monkeypatch: pytest.MonkeyPatch) -> None:
    """Longer than for other grammars; and all that a request may wait for is over before its own time is."""
    assert trials.WAIT_S + trials.START_WAIT_S + trials.WAIT_S < COMPILING_S
    monkeypatch.setattr(trials, "WAIT_S", 0.3)
    tried = Trials((_slowly, ()))
    process = tried._running()
    assert process.ready.is_set()
    tried.close()


def test_a_process_that_does_not_start_is_no_refusal(monkeypatch: pytest.MonkeyPatch) -> None:
    """It says nothing of a grammar."""
    tried = Trials((_badly, ()))
    with pytest.raises(InferloomError) as caught:
        tried.verdict('start: "a"')
    assert caught.value.reason is Reason.SERVER_OVERLOADED
    tried.close()


def _slowly() -> LLTokenizer:
    """A vocabulary that takes its time."""
    time.sleep(0.5)
    return LLTokenizer("byte")


def _badly() -> LLTokenizer:
    """None."""
    raise ValueError


def test_a_refusal_is_remembered_for_a_while(
    smollm_tokenizer: Tokenizer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is not worked out again for who asks again, but anew later: it may have been the machine's doing."""
    asked: list[str] = []

    def verdict(self: Trials, text: str) -> trials.Verdict:
        asked.append(text)
        return trials.Verdict("it takes more than all there is")

    monkeypatch.setattr(Trials, "verdict", verdict)
    made = GrammarCompiler(smollm_tokenizer, smollm_tokenizer.vocab_size)
    for param in ("one", "other"):
        with pytest.raises(InferloomError, match=f"{param} cannot be enforced: it takes more"):
            made.compile(Grammar("a+", param, Kind.REGEX))
    assert len(asked) == 1
    monkeypatch.setattr(compiler, "REFUSED_S", -1.0)
    for _ in range(2):
        with pytest.raises(InferloomError):
            made.compile(Grammar("b+", "one", Kind.REGEX))
    assert len(asked) == 3


def test_choices_that_wait_hold_nothing(smollm_tokenizer: Tokenizer) -> None:
    """A choice has a copy of its grammar from its first mask on; what is forced before is known without."""
    width = smollm_tokenizer.vocab_size
    made = GrammarCompiler(smollm_tokenizer, width)
    for text, forced in (("The quick brown fox.*", True), ("[ab]+", False)):
        constraint = made.compile(Grammar(text, "constraint.regex", Kind.REGEX))
        matcher = constraint.matcher()
        assert bool(matcher.forced()) is forced
        assert not matcher.ended
        assert matcher._moved is None
        assert constraint.bytes > 0
        mask = np.zeros(-(-width // 32), np.int32)
        assert matcher.fill(mask)
        assert matcher._moved is not None
        run = list(matcher.forced())
        assert matcher._beginning.start.deep_copy().compute_ff_tokens() == run
        for token in run:
            matcher.accept(token)
        assert matcher.fill(mask)


@pytest.mark.parametrize(
    "text", ["([xyzq]*x[xyzq]{20}y[xyzq]*)+", "[a-c]{1,4}(,[0-9]+){3,}", "The (quick|slow) fox.*"]
)
def test_what_masks_found_is_let_go(
    smollm_tokenizer: Tokenizer, monkeypatch: pytest.MonkeyPatch, text: str
) -> None:
    """A choice that goes its way anew is where it was: the same may come, be forced, and be taken back."""
    width = smollm_tokenizer.vocab_size
    constraint = GrammarCompiler(smollm_tokenizer, width).compile(Grammar(text, "regex", Kind.REGEX))
    kept, anew, chance = constraint.matcher(), constraint.matcher(), random.Random(3)
    own, other = (np.zeros(-(-width // 32), np.int32) for _ in range(2))
    monkeypatch.setattr(compiled, "FEWEST_TOKENS", 0)
    for _ in range(30):
        monkeypatch.setattr(compiled, "MOST_FOUND_S", 99.0)
        kept.fill(own)
        before = anew._moved
        monkeypatch.setattr(compiled, "MOST_FOUND_S", -1.0)
        anew.fill(other)
        assert anew._moved is not before
        assert (own == other).all()
        assert kept.forced() == anew.forced()
        allowed = np.unpackbits(own.view(np.uint8), bitorder="little").nonzero()[0].tolist()
        token = chance.choice([each for each in allowed if each not in smollm_tokenizer.eos_ids])
        for matcher in (kept, anew):
            matcher.accept(token)
            if chance.random() < 0.2:
                matcher.rollback(1)
                matcher.accept(token)


@pytest.mark.parametrize(
    ("first_s", "next_s", "fewest", "most"),
    [(0.3, 0.0, 0, 0), (0.3, 0.005, 2, 3), (1.5, 1.5, 0, 60), (0.01, 0.01, 1, 3)],
    ids=["found at once", "found and used", "always dear", "always cheap"],
)
def test_what_masks_found_is_seldom_found_again(
    smollm_tokenizer: Tokenizer,
    monkeypatch: pytest.MonkeyPatch,
    first_s: float,
    next_s: float,
    fewest: int,
    most: int,
) -> None:
    """Where the first mask takes long it does so once in a while, and not each time; and what is found is let
    go all the same. ``first_s`` is what the first mask of a copy takes, ``next_s`` what others do."""
    width = smollm_tokenizer.vocab_size
    matcher = (
        GrammarCompiler(smollm_tokenizer, width).compile(Grammar("[a-c]+", "regex", Kind.REGEX)).matcher()
    )

    class Clock:
        """Of processor time, which passes between a mask's two readings."""

        now, amid = 0.0, False
        copy: object = None

        @classmethod
        def thread_time(cls) -> float:
            if cls.amid:
                cls.now += next_s if cls.copy is matcher._moved else first_s
                cls.copy = matcher._moved
            cls.amid = not cls.amid
            return cls.now

    monkeypatch.setattr(compiled, "time", Clock)
    mask, token = (
        np.zeros(-(-width // 32), np.int32),
        smollm_tokenizer.encode("a", add_special_tokens=False)[0],
    )
    copies: list[object] = []
    for _ in range(200):
        assert matcher.fill(mask)
        if not copies or copies[-1] is not matcher._moved:
            copies.append(matcher._moved)
        matcher.accept(token)
    assert fewest <= len(copies) - 1 <= most
