"""A grammar that takes too much is refused or ends its own request, and nothing else waits for it."""

import json
import sys
import threading
import time
from collections.abc import Sequence

import pytest

from inferloom_mesh.errors import InferloomError
from inferloom_worker.constrain import compiler, trials
from inferloom_worker.constrain.compiler import GrammarCompiler
from inferloom_worker.constrain.grammar import Grammar, Kind
from inferloom_worker.constrain.source import source
from inferloom_worker.constrain.trials import Trials
from inferloom_worker.constrain.vocabulary import from_bytes
from inferloom_worker.engine.constraint import ConstraintError, Mask
from inferloom_worker.stepping import masks
from inferloom_worker.stepping.masks import MaskFiller, MaskWork
from inferloom_worker.text.job import Job, TimeUp
from inferloom_worker.text.tokenizer import Tokenizer
from tests.patience import PATIENCE_S

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
        assert tried.verdict(HOSTILE).refusal.startswith("it takes more than")
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
    tried._process.kill()
    tried._process.wait()
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
        return [text for _, text in made._kept]

    small = [json.dumps([f"choice {i}"]) for i in range(3)]
    assert kept(*small) == small
    one = max(each.bytes for each in made._kept.values())
    monkeypatch.setattr(compiler, "MOST_KEPT_BYTES", 2 * one)
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


def test_a_mask_that_is_late_is_an_error_of_its_own_sequence(monkeypatch: pytest.MonkeyPatch) -> None:
    """Others have theirs, in this step and in the next."""
    monkeypatch.setattr(masks, "LIMIT_S", 1.0)
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
    gate, filler = threading.Event(), MaskFiller()
    slow, good, slow_too = Scripted(gate), Scripted(), Scripted(gate)
    first, second, third = filler.start([MaskWork(each) for each in (slow, good, slow_too)], 40).wait()
    gate.set()
    assert first[0].error is not None
    assert second[0].words is not None
    assert second[0].words[0] == 8
    assert third[0].error is not None
    filler.close()


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
