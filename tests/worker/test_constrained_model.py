"""The demo model's answers, held to constraints of each kind."""

import asyncio
import json
import re
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator
from llguidance import LLMatcher

from inferloom.v1 import inference_pb2 as pb
from inferloom_mesh.errors import InferloomError, Reason, invalid
from inferloom_worker.constrain.compiler import GrammarCompiler
from inferloom_worker.constrain.grammar import Grammar, GrammarConstraint, Grammars, Kind
from inferloom_worker.constrain.source import source
from inferloom_worker.constrain.trials import Trials
from inferloom_worker.constrain.vocabulary import vocabulary
from inferloom_worker.engine.constraint import Matcher, PortableConstraint
from inferloom_worker.engine.options import EngineOptions
from inferloom_worker.hosting.generator import Generator
from inferloom_worker.hosting.load_options import LoadOptions
from inferloom_worker.hosting.model_loading import load_model
from inferloom_worker.hosting.tool_constraint import ENDS_IN_TIME
from inferloom_worker.text.pool import TextPool
from inferloom_worker.text.tokenizer import Tokenizer
from tests.patience import PATIENCE_S, until_async
from tests.worker.constrained import ask

STOP, LENGTH = pb.FINISH_REASON_STOP, pb.FINISH_REASON_LENGTH

PERSON: dict[str, Any] = {
    "type": "object",
    "properties": {
        "name": {"type": "string", "minLength": 1, "maxLength": 12},
        "age": {"type": "integer", "minimum": 0, "maximum": 130},
        "tags": {"type": "array", "items": {"enum": ["tall", "kind", "old"]}, "minItems": 1, "maxItems": 3},
    },
    "required": ["name", "age", "tags"],
    "additionalProperties": False,
}
PERSON_CONSTRAINT = pb.Constraint(json_schema=json.dumps(PERSON))

LARK = 'start: "say " WORD ("," WORD)* "."\nWORD: /[a-z]{1,5}/'

NUMBERED = r"\d{3}-[a-z]{1,8}/é"

KINDS: dict[str, tuple[pb.Constraint, Any]] = {
    "json_schema": (PERSON_CONSTRAINT, lambda text: Draft202012Validator(PERSON).is_valid(json.loads(text))),
    "json_object": (
        pb.Constraint(json_object=True),
        lambda text: isinstance(json.loads(text), dict),
    ),
    "regex": (pb.Constraint(regex=NUMBERED), lambda text: re.fullmatch(NUMBERED, text)),
    "choice": (
        pb.Constraint(choice=pb.Choices(texts=["no", "now", "north"])),
        {"no", "now", "north"}.__contains__,
    ),
    "lark": (pb.Constraint(lark=LARK), lambda text: re.fullmatch(r"say [a-z]{1,5}(,[a-z]{1,5})*\.", text)),
}


def load(path: Path, speculation: Any) -> Generator:
    """The demo model."""
    served = load_model("m", str(path), LoadOptions(engine=EngineOptions(speculation=speculation)))
    assert isinstance(served, Generator)
    return served


@pytest.fixture(scope="module")
def model(smollm_file: Path) -> Iterator[Generator]:
    """It, with no drafts."""
    served = load(smollm_file, "off")
    yield served
    served.close()


@pytest.fixture(scope="module")
def drafting(smollm_file: Path) -> Iterator[Generator]:
    """It, with drafts wherever there is a guess."""
    served = load(smollm_file, 8)
    yield served
    served.close()


@pytest.mark.parametrize("temperature", [0, 1])
@pytest.mark.parametrize("kind", KINDS)
async def test_an_answer_that_finishes_conforms(model: Generator, kind: str, temperature: int) -> None:
    """Each choice by itself; and each token is one that its grammar allows where it stands."""
    constraint, conforms = KINDS[kind]
    answered = await ask(model, constraint, temperature=temperature, n=4, seed=5)
    known = vocabulary(model.tokenizer, model.card.vocabulary_size)
    field = constraint.WhichOneof("grammar")
    text = {
        "choice": json.dumps(list(constraint.choice.texts)),
        "json_object": '{"type":"object"}',
    }.get(str(field), str(getattr(constraint, str(field))))
    asked = Kind.JSON_SCHEMA if field == "json_object" else Kind(field)
    for said in answered.choices.values():
        replayed = LLMatcher(known.tokens, source(Grammar(text, "", asked)).text, log_level=0)
        spoken = [token for token in said.tokens if token not in known.ends]
        assert replayed.validate_tokens(spoken) == len(spoken)
        if said.reason == STOP:
            assert conforms(said.text)
    if kind != "json_object":
        assert all(said.reason == STOP for said in answered.choices.values())


@pytest.mark.parametrize("temperature", [0, 1])
async def test_drafts_change_nothing(model: Generator, drafting: Generator, temperature: int) -> None:
    """Tokens and ends are those of single steps, although drafts were right and wrong."""
    text = 'A list: ["tall","kind","tall","kind","tall","kind"]. Again:'
    listed = {"type": "array", "items": {"enum": ["tall", "kind", "old"]}, "minItems": 9}
    asked: dict[str, Any] = {"text": text, "temperature": temperature, "n": 2, "seed": 2, "max_tokens": 40}
    accepted = 0
    for constraint in (pb.Constraint(json_schema=json.dumps(listed)), PERSON_CONSTRAINT):
        expected = await ask(model, constraint, **asked)
        actual = await ask(drafting, constraint, **asked)
        assert actual.choices == expected.choices
        assert expected.usage.accepted_draft_tokens == 0
        accepted += actual.usage.accepted_draft_tokens
    assert accepted


async def test_log_probabilities_are_those_of_the_model(model: Generator) -> None:
    """What a mask leaves no choice about may be as unlikely as it is without one."""
    answered = await ask(model, pb.Constraint(choice=pb.Choices(texts=["zebra"])), logprobs=True)
    said = answered.choices[0]
    biased = await ask(model, None, logprobs=True, max_tokens=1, logit_bias={said.tokens[0]: 100})
    assert said.logprobs[0] == pytest.approx(biased.choices[0].logprobs[0], abs=1e-4)
    assert said.logprobs[0] < -3


async def test_a_complete_answer_ends_by_itself(model: Generator) -> None:
    """Whatever is asked about the least tokens or the model's own end: nothing else can follow."""
    exact = pb.Constraint(regex="abc")
    for stopping in ({}, {"min_tokens": 30}, {"ignore_eos": True}):
        said = (await ask(model, exact, stopping=stopping)).choices[0]
        assert (said.text, said.reason) == ("abc", STOP)
    endless = pb.Constraint(regex="(ab)*")
    said = (await ask(model, endless, stopping={"min_tokens": 5}, max_tokens=9)).choices[0]
    assert len(said.tokens) >= 5
    said = (await ask(model, endless, stopping={"ignore_eos": True}, max_tokens=9)).choices[0]
    assert (said.reason, len(said.tokens)) == (LENGTH, 9)


async def test_stop_strings_and_the_most_tokens_cut_an_answer(model: Generator) -> None:
    """They are the caller's own wish, and end it before it conforms."""
    said = (await ask(model, PERSON_CONSTRAINT, stopping={"stop": ['"age']})).choices[0]
    assert (said.reason, said.matched) == (STOP, '"age')
    assert said.text.startswith('{"name"')
    said = (await ask(model, PERSON_CONSTRAINT, max_tokens=3)).choices[0]
    assert (said.reason, len(said.tokens)) == (LENGTH, 3)


async def test_a_biased_answer_conforms_too(model: Generator) -> None:
    """Bias and penalties say what is likelier among the tokens that are allowed."""
    quote = model.tokenizer.encode("zebra", add_special_tokens=False)[0]
    answered = await ask(
        model, PERSON_CONSTRAINT, logit_bias={quote: 100}, frequency_penalty=2, repetition_penalty=1.5
    )
    assert Draft202012Validator(PERSON).is_valid(json.loads(answered.texts[0]))


async def test_a_format_that_is_not_enforced_is_told(model: Generator) -> None:
    """In the first event."""
    schema = {"type": "string", "maxLength": 3, "format": "phone"}
    answered = await ask(model, pb.Constraint(json_schema=json.dumps(schema)))
    assert list(answered.started.notes) == ["the format 'phone' is not enforced", ENDS_IN_TIME]


@pytest.mark.parametrize(
    ("constraint", "word"),
    [
        (pb.Constraint(json_schema='{"uniqueItems": true}'), "'uniqueItems'"),
        (pb.Constraint(regex=r"(?=(a)\1)"), "look-ahead"),
        (pb.Constraint(lark="start: nothing"), "nothing"),
        (pb.Constraint(lark='start: "a" <|nosuch|>'), "nosuch"),
    ],
)
async def test_what_cannot_be_enforced_is_refused_by_name(
    model: Generator, constraint: pb.Constraint, word: str
) -> None:
    """INVALID_ARGUMENT at the field, and the next request is fine."""
    with pytest.raises(InferloomError, match=word) as caught:
        await ask(model, constraint)
    assert caught.value.reason is Reason.INVALID_ARGUMENT
    assert caught.value.param == f"constraint.{constraint.WhichOneof('grammar')}"
    assert (await ask(model, pb.Constraint(regex="ok"))).texts == ["ok"]


class Unforced:
    """A matcher that forces nothing, so that every token has a step of its own; its masks are the same."""

    def __init__(self, inner: Matcher) -> None:
        self.inner = inner
        self.fill, self.allowed = inner.fill, inner.allowed
        self.accept, self.rollback, self.replay = inner.accept, inner.rollback, inner.replay

    @property
    def ended(self) -> bool:
        """As the other."""
        return self.inner.ended

    def forced(self) -> Sequence[int]:
        """Nothing."""
        return ()


@dataclass
class OneByOne:
    """Grammars whose constraints force nothing."""

    grammars: Grammars
    constraint: GrammarConstraint | None = None
    notes: Sequence[str] = ()

    def prepare(self) -> None:
        """See :class:`Grammars`."""

    def close(self) -> None:
        """See :class:`Grammars`."""

    def compile(self, grammar: Grammar, **more: Any) -> "OneByOne":
        """See :class:`Grammars`."""
        return OneByOne(self.grammars, self.grammars.compile(grammar, **more))

    @property
    def portable(self) -> PortableConstraint:
        """See :class:`Constraint`."""
        assert self.constraint is not None
        return self.constraint.portable

    @property
    def bytes(self) -> int:
        """See :class:`Constraint`."""
        return 0 if self.constraint is None else self.constraint.bytes

    def matcher(self) -> Matcher:
        """See :class:`Constraint`."""
        assert self.constraint is not None
        return Unforced(self.constraint.matcher())


FORCING: dict[str, tuple[pb.Constraint, dict[str, Any]]] = {
    "names of properties": (PERSON_CONSTRAINT, {"temperature": 1, "n": 2, "seed": 9}),
    "all of a text": (pb.Constraint(choice=pb.Choices(texts=["The quick brown fox jumps."])), {}),
    "with penalties": (PERSON_CONSTRAINT, {"repetition_penalty": 1.4, "frequency_penalty": 0.5}),
    "names that begin alike": (
        pb.Constraint(regex=r'(\{"(orderName|orderId)":[0-9]\})+'),
        {"temperature": 1, "max_tokens": 25, "seed": 9},
    ),
    "a stop token in a run": (
        pb.Constraint(lark='start: "begin" <|im_end|>'),
        {"stopping": {"include_stop": True}},
    ),
    "the most tokens in a run": (pb.Constraint(regex="one two three four"), {"max_tokens": 2}),
}


@pytest.mark.parametrize("case", FORCING)
async def test_a_run_of_forced_tokens_gives_what_single_steps_give(drafting: Generator, case: str) -> None:
    """Tokens, ends and log-probabilities, in fewer steps; and none of them counts as a guess."""
    constraint, asked = FORCING[case]
    steps: list[int] = []
    engine: Any = drafting.engine
    forward = engine._model.forward

    def counted(batch: Any) -> Any:
        steps.append(1)
        return forward(batch)

    engine._model.forward = counted
    grammars = drafting.grammars
    assert grammars is not None
    try:
        at_once = await ask(drafting, constraint, logprobs=True, **asked)
        taken = len(steps)
        drafting.grammars = OneByOne(grammars)
        singly = await ask(drafting, constraint, logprobs=True, **asked)
    finally:
        drafting.grammars = grammars
        del engine._model.forward
    assert [said.tokens for said in at_once.choices.values()] == [s.tokens for s in singly.choices.values()]
    assert [said.reason for said in at_once.choices.values()] == [s.reason for s in singly.choices.values()]
    for said, other in zip(at_once.choices.values(), singly.choices.values(), strict=True):
        assert said.logprobs == pytest.approx(other.logprobs, abs=1e-5)
    assert taken < len(steps) - taken
    usage = at_once.usage
    assert usage.accepted_draft_tokens + usage.rejected_draft_tokens <= usage.completion_tokens


class Blocked:
    """Grammars that are refused when they are let."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.let = threading.Event()

    def prepare(self) -> None:
        """See :class:`Grammars`."""

    def close(self) -> None:
        """See :class:`Grammars`."""

    def compile(self, grammar: Grammar, **_: object) -> GrammarConstraint:
        """See :class:`Grammars`."""
        self.asked.append(grammar.text)
        self.let.wait(PATIENCE_S)
        raise invalid("constraint", "no")


async def test_grammars_hold_up_no_prompts(model: Generator, monkeypatch: pytest.MonkeyPatch) -> None:
    """However many are compiled, and for however long: texts have threads of their own."""
    blocked, texts = Blocked(), TextPool()
    monkeypatch.setattr(model, "grammars", blocked)
    asked = [
        asyncio.create_task(ask(model, pb.Constraint(regex=f"a{index}"), texts=texts)) for index in range(5)
    ]
    await until_async(lambda: len(blocked.asked), "grammars that are compiled", lambda seen: seen > 1)
    long = await ask(model, None, text="All of these words are read. " * 60, max_tokens=1, texts=texts)
    assert long.usage.completion_tokens == 1
    blocked.let.set()
    told = await asyncio.gather(*asked, return_exceptions=True)
    assert [error.reason for error in told if isinstance(error, InferloomError)] == [
        Reason.INVALID_ARGUMENT
    ] * 5
    texts.close()


async def test_the_first_grammar_finds_all_ready(smollm_file: Path) -> None:
    """A model that is served has its vocabulary made and its process started before anybody asks."""
    served = load(smollm_file, "off")
    try:
        await served.attend(lambda: None)
        compiler = served.grammars
        assert isinstance(compiler, GrammarCompiler)
        trials = await until_async(lambda: compiler._trials, "a process that tries grammars", bool)
        assert trials is not None
        process = await until_async(lambda: trials._process, "the process itself", bool)
        assert process is not None
        assert await asyncio.to_thread(process.ready.wait, PATIENCE_S)
        answered = await ask(served, pb.Constraint(regex=NUMBERED))
        assert answered.choices[0].reason == STOP
        assert trials._process is process
        assert not process.over
    finally:
        served.close()
    assert process.over


def test_what_is_closed_while_it_is_made_ready_leaves_no_process(smollm_tokenizer: Tokenizer) -> None:
    """A model may be unloaded as soon as it is there."""
    compiler = GrammarCompiler(smollm_tokenizer, smollm_tokenizer.vocab_size)
    compiler.close()
    compiler._prepare()
    assert compiler._trials is not None
    assert compiler._trials._process is None


def test_what_cannot_be_made_ready_is_made_when_it_is_asked_for(
    smollm_tokenizer: Tokenizer, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The log has why; who asks is answered."""
    compiler = GrammarCompiler(smollm_tokenizer, smollm_tokenizer.vocab_size)
    with monkeypatch.context() as patched:
        patched.setattr(Trials, "begin", raises)
        compiler._prepare()
    assert "no memory" in caplog.text
    compiler.compile(Grammar(NUMBERED, "constraint.regex", Kind.REGEX))


def raises(*_: object) -> None:
    """Fails as the system does."""
    raise OSError("no memory")
