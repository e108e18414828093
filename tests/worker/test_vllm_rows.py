"""What is carried in vLLM's batch is chosen as our own engine chooses, and goes on exactly."""

import random
import threading
from typing import Any

import pytest
import torch

from inferloom_mesh.errors import invalid
from inferloom_worker.constrain.grammar import Grammar
from inferloom_worker.engine.constraint import ConstraintError, Mask, PortableConstraint
from inferloom_worker.engine.limits import TokenLimits
from inferloom_worker.engine.request import Committed, GenerationRequest
from inferloom_worker.engine.sampling import Sampling
from inferloom_worker.engines.vllm.carried import Carried
from inferloom_worker.engines.vllm.rows import CarriedBatch
from inferloom_worker.stepping.row import Row
from inferloom_worker.stepping.sampler import TorchChooser, sample
from inferloom_worker.stepping.sequence import SequenceState
from tests.patience import PATIENCE_S
from tests.worker.engines import request

VOCABULARY = 200
STEPS = 24

SETTINGS: dict[str, dict[str, Any]] = {
    "drawn": {"sampling": Sampling(seed=5, top_p=0.9)},
    "penalties": {"sampling": Sampling(seed=6, presence_penalty=0.7, frequency_penalty=0.9, min_p=0.01)},
    "repetition and bias": {
        "sampling": Sampling(temperature=0.0, repetition_penalty=1.5, logit_bias={3: 2.0, 9: -4.0})
    },
    "least tokens": {
        "sampling": Sampling(seed=7),
        "min_tokens": 20,
        "stop_token_ids": frozenset(range(0, VOCABULARY, 2)),
    },
    "barred words": {
        "sampling": Sampling(temperature=0.0),
        "limits": TokenLimits(range(40), [[5], [11, 12], [12, 13, 14]]),
    },
}


def logits(tokens: list[int]) -> torch.Tensor:
    """What a model says after these tokens, float32 [VOCABULARY]."""
    generator = torch.Generator().manual_seed(sum(tokens[-3:]) % 7)
    return 3.0 * torch.randn(VOCABULARY, generator=generator)


def expected(asked: GenerationRequest, choice: int) -> list[int]:
    """What our own engine says."""
    sequence = SequenceState(asked, mailbox=None, choice=choice, arrival=0, submitted_at=0.0)  # type: ignore[arg-type]
    for _ in range(STEPS):
        (one,) = sample(logits(sequence.tokens)[None], [Row(sequence)], TorchChooser())
        sequence.tokens.append(one.token)
    return sequence.tokens[len(asked.prompt) :]


class Batch:
    """vLLM's batch as a processor sees it."""

    def __init__(self) -> None:
        self.batch = CarriedBatch(lambda: pytest.fail("nothing is constrained"))
        self.rows: dict[int, tuple[list[int], list[int]]] = {}

    def come(self, row: int, asked: GenerationRequest, choice: int, committed: list[int]) -> None:
        """A request goes on from these tokens."""
        prompt, output = [*asked.prompt, *committed], list[int]()
        self.rows[row] = prompt, output
        told = Carried(asked, choice, len(committed)).told()
        self.batch.came(row, told, prompt, output)

    def tokens(self, row: int) -> list[int]:
        """What a row's request has."""
        prompt, output = self.rows.get(row, ([], []))
        return [*prompt, *output]

    def step(self) -> None:
        """All rows get a token."""
        width = max(self.rows) + 1
        given = torch.stack([logits(self.tokens(row)) for row in range(width)])
        before = given.clone()
        left = self.batch.apply(given)
        for row in range(width):
            if row in self.rows:
                self.rows[row][1].append(int(left[row].argmax()))
                assert int(left[row].isfinite().sum()) == 1
            else:
                assert torch.equal(left[row], before[row])


@pytest.mark.parametrize("name", list(SETTINGS))
@pytest.mark.parametrize("committed", [0, 1, 13])
def test_a_carried_choice_is_what_our_own_engine_says(name: str, committed: int) -> None:
    """From its beginning, and behind tokens that another worker had committed."""
    asked = request([1, 2, 3], 50, n=2, **SETTINGS[name])
    whole = expected(asked, 1)
    batch = Batch()
    batch.come(0, asked, 1, whole[:committed])
    for _ in range(STEPS - committed):
        batch.step()
    assert batch.rows[0][1] == whole[committed:]


def test_rows_move_and_are_taken_again() -> None:
    """With others beside them that are not carried, whose rows are left as they are."""
    names = list(SETTINGS)
    wholes = {name: expected(request([1, 2, 3], 50, **SETTINGS[name]), 0) for name in names}
    rng = random.Random(1)
    batch, where = Batch(), dict[str, int]()
    for row, name in enumerate(names):
        batch.come(row * 2, request([1, 2, 3], 50, **SETTINGS[name]), 0, [])
        where[name] = row * 2
    for _ in range(10):
        one, other = rng.choice(list(where.values())), rng.randrange(10)
        batch.batch.moved(one, other, swap=True)
        here, there = batch.rows.pop(one), batch.rows.pop(other, None)
        batch.rows[other] = here if there is None or one != other else there
        if there is not None and one != other:
            batch.rows[one] = there
        moves = {one: other, other: one}
        where = {name: moves.get(row, row) for name, row in where.items()}
        batch.step()
    for name, row in where.items():
        assert batch.rows[row][1] == wholes[name][:10]
    gone = where.pop(names[0])
    batch.batch.left(gone)
    del batch.rows[gone]
    batch.come(gone, request([1, 2, 3], 50, **SETTINGS[names[1]]), 0, wholes[names[1]][:4])
    batch.step()
    assert batch.rows[gone][1] == wholes[names[1]][4:5]


def test_a_request_that_is_not_carried_takes_its_row() -> None:
    """And nothing is chosen for it."""
    batch = Batch()
    asked = request([1, 2, 3], 50, committed={0: Committed([])}, **SETTINGS["drawn"])
    batch.come(0, asked, 0, [])
    batch.batch.came(0, None, [1], [])
    given = torch.zeros(1, VOCABULARY)
    assert torch.equal(batch.batch.apply(given), torch.zeros(1, VOCABULARY))


def test_where_no_token_may_come_one_is_left_that_ends_nothing() -> None:
    """The lowest that is none of the request's stops, among which token 0 may be."""
    batch = Batch()
    asked = request([1, 2, 3], 50, limits=TokenLimits([7], [[7]]), stop_token_ids=frozenset({0, 1, 3}))
    batch.come(0, asked, 0, [])
    batch.step()
    assert batch.rows[0][1] == [2]


class Slow:
    """Grammars that are compiled when they are let, of constraints that allow token 7 and nothing else."""

    def __init__(self) -> None:
        self.let = threading.Event()
        self.refuses = False

    def prepare(self) -> None:
        """See :class:`Grammars`."""

    def close(self) -> None:
        """See :class:`Grammars`."""

    def compile(self, grammar: Grammar, **_: object) -> Any:
        """See :class:`Grammars`."""
        assert self.let.wait(PATIENCE_S)
        if self.refuses:
            raise invalid("constraint", "no")
        return self

    def matcher(self) -> "Slow":
        """Itself."""
        return self

    def accept(self, token: int) -> None:
        """Token 7 only."""
        if token != 7:
            raise ConstraintError("no")

    def fill(self, mask: Mask) -> bool:
        """See :class:`Matcher`."""
        mask[0] = 1 << 7
        return True


def constrained(grammars: Slow, committed: list[int], output: list[int]) -> tuple[CarriedBatch, list[int]]:
    """A batch with one row that is constrained, while its grammar is compiled."""
    batch, asked = CarriedBatch(lambda: grammars), request([1], 9)
    told = Carried(asked, 0, len(committed), PortableConstraint("start: /7*/")).told()
    batch.came(0, told, [1, *committed], output)
    return batch, output


def test_a_grammar_is_compiled_while_the_model_computes() -> None:
    """The step that its request joins goes on meanwhile, and waits for it at its end."""
    grammars = Slow()
    batch, output = constrained(grammars, [7], [])
    grammars.let.set()
    for _ in range(3):
        left = batch.apply(torch.zeros(1, VOCABULARY))
        output.append(int(left[0].argmax()))
    assert output == [7, 7, 7]


def test_choices_that_want_the_same_have_it_compiled_once() -> None:
    """And none of them has a thread that waits: another request's grammar finds one."""
    slow: Any = Slow()
    quick: Any = Slow()
    other = PortableConstraint("start: /7+/")
    quick.let.set()
    asked: list[str] = []

    class Both:
        def prepare(self) -> None:
            raise AssertionError("nobody asked for it")

        def close(self) -> None:
            raise AssertionError("nobody asked for it")

        def compile(self, grammar: Grammar, **how: object) -> Any:
            asked.append(grammar.text)
            return (quick if grammar.text == other.grammar else slow).compile(grammar, **how)

    batch, matchers = CarriedBatch(Both), []
    for index, constraint in enumerate([PortableConstraint("start: /7*/")] * 8 + [other]):
        batch.came(index, Carried(request([1], 9), 0, 0, constraint).told(), [1], [])
        matchers.append(batch._rows[index]._coming)
    last = matchers.pop()
    assert last is not None
    assert last.result(PATIENCE_S) is quick
    slow.let.set()
    assert all(each is not None and each.result(PATIENCE_S) is slow for each in matchers)
    assert asked == ["start: /7*/", other.grammar]
    assert not batch._compiling


@pytest.mark.parametrize("refuses", [True, False])
def test_a_grammar_that_fails_there_fails_its_request(refuses: bool) -> None:
    """And not vLLM's engine: the token that is left is one that may not come."""
    grammars = Slow()
    grammars.refuses = refuses
    batch, output = constrained(grammars, [] if refuses else [5], [])
    grammars.let.set()
    output.append(int(batch.apply(torch.zeros(1, VOCABULARY))[0].argmax()))
    assert output == [0]
