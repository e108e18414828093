"""What an answer is held to and what reads it agree on where reasoning ends."""

import json
from collections.abc import Sequence
from typing import Any

import pytest

from inferloom.v1 import inference_pb2 as pb
from inferloom_mesh.errors import InferloomError
from inferloom_worker.constrain.grammar import Ending, Grammar, Kind
from inferloom_worker.constrain.patterns import MOST_OF_ALL, MOST_STEPS
from inferloom_worker.constrain.regex_states import Steps
from inferloom_worker.constrain.source import source
from inferloom_worker.engine.constraint import Matcher, PortableConstraint
from inferloom_worker.hosting.tool_constraint import ENDS_IN_TIME, enforced
from tests.worker import grammars
from tests.worker.heard import Heard
from tests.worker.test_dialect import THINKING, WEATHER, dialect, said, turn
from tests.worker.test_patterns import EMAIL
from tests.worker.tool_templates import TEMPLATES

ANSWER = Grammar('{"const": {"a": 1}}', "constraint.json_schema", Kind.JSON_SCHEMA)


class Seen:
    """A constraint that shows what it was made of."""

    notes: Sequence[str] = ()

    def __init__(self, grammar: Grammar, *, ending: Ending | None = None) -> None:
        self.grammar = grammar
        self.ending = ending

    @property
    def portable(self) -> PortableConstraint:
        """Nobody asks."""
        raise AssertionError

    @property
    def bytes(self) -> int:
        """Nothing."""
        return 0

    def matcher(self) -> Matcher:
        """Nobody asks."""
        raise AssertionError


@pytest.mark.parametrize("tools", [[], [WEATHER]])
@pytest.mark.parametrize(
    ("prompt", "text"),
    [("Hi<think>\n", 'Hm.</think>\n\n{"a":1}'), ("Hi", '<think>Hm.</think>{"a":1}')],
)
def test_an_answer_that_must_conform_is_text_after_reasoning(
    prompt: str, text: str, tools: list[pb.Tool]
) -> None:
    """With tools and without."""
    chat = pb.ChatInput(messages=[turn(pb.ROLE_USER, text="Hi")], tools=tools)

    held = enforced(dialect(THINKING), chat, prompt, ANSWER, Seen)
    assert held is not None
    assert isinstance(held.constraint, Seen)
    assert grammars.accepts(held.constraint.grammar, text)
    assert grammars.accepts(held.constraint.grammar, '{"a":1}') is not prompt.endswith("<think>\n")
    assert said(THINKING, chat, prompt, text) == Heard('{"a":1}', "Hm.")


def test_what_must_be_so_has_time_to_end() -> None:
    """Calls that must be, and answers in JSON; it is told. Text and the caller's own expressions are cut."""
    required = pb.ToolChoice(mode=pb.TOOL_CHOICE_MODE_REQUIRED)
    for chat, answer, ends in (
        (pb.ChatInput(tools=[WEATHER], tool_choice=required), None, True),
        (pb.ChatInput(tools=[WEATHER]), None, False),
        (pb.ChatInput(), ANSWER, True),
        (pb.ChatInput(), Grammar("a*", "constraint.regex", Kind.REGEX), False),
    ):
        held = enforced(dialect(TEMPLATES["hermes"]), chat, "Hi", answer, Seen, within=50)
        assert held is not None
        assert isinstance(held.constraint, Seen)
        ending = held.constraint.ending
        assert (ending is not None and ending.answers, list(held.notes) == [ENDS_IN_TIME]) == (ends, ends)


def test_a_form_without_quotes_tells_what_it_cannot_enforce() -> None:
    """A format is an annotation; what else has to be enforced and cannot is refused by name."""
    schema = '{"type": "object", "properties": {"a": {"pattern": "b"}}}'
    dated = schema.replace('"pattern": "b"', '"type": "string", "format": "date"')
    coder = dialect(TEMPLATES["qwen3-coder"])

    def held(**tool: Any) -> Sequence[str]:
        chat = pb.ChatInput(tools=[pb.Tool(name="f", **tool)])
        chat.tool_choice.mode = pb.TOOL_CHOICE_MODE_REQUIRED
        made = enforced(coder, chat, "Hi", None, Seen)
        assert made is not None
        return made.notes

    assert held(parameters_json_schema=schema) == ["f: 'pattern' of 'a' is not enforced"]
    assert held(parameters_json_schema=dated, strict=True) == ["f: 'format' of 'a' is not enforced"]
    with pytest.raises(InferloomError, match="'pattern' of 'a' cannot be enforced") as caught:
        held(parameters_json_schema=schema, strict=True)
    assert caught.value.param == "chat.tools[0].parameters_json_schema"


@pytest.mark.parametrize("form", ["hermes", "qwen3-coder", "pythonic"])
@pytest.mark.parametrize(
    ("schema", "wrong"),
    [
        ({"properties": None, "required": None}, None),
        ({"properties": {"a": {"type": "integer", "enum": None}}, "required": None}, None),
        ({"properties": [], "minProperties": "1"}, "'properties'"),
        ({"properties": {"a": {"type": "string", "required": True}}}, "'required'"),
        ({"properties": {"a": {"type": [{}]}}, "required": []}, "'type'"),
    ],
)
def test_a_schema_that_is_none_takes_nothing_else_away(
    form: str, schema: dict[str, Any], wrong: str | None
) -> None:
    """Null is as if it were absent; values that a keyword cannot have are told, or refused where strict."""

    def held(*, strict: bool) -> Sequence[str]:
        tool = pb.Tool(
            name="f", parameters_json_schema=json.dumps({"type": "object", **schema}), strict=strict
        )
        required = pb.ToolChoice(mode=pb.TOOL_CHOICE_MODE_REQUIRED)
        made = enforced(
            dialect(TEMPLATES[form]), pb.ChatInput(tools=[tool], tool_choice=required), "Hi", None, Seen
        )
        assert made is not None
        return made.notes

    if wrong is None:
        assert held(strict=False) == held(strict=True) == []
        return
    assert held(strict=False)[0].startswith(f"f: {wrong}, which must be")
    with pytest.raises(InferloomError, match=wrong) as caught:
        held(strict=True)
    assert caught.value.param == "chat.tools[0].parameters_json_schema"


def test_text_that_is_no_conversation_is_held_to_its_grammar_from_the_beginning() -> None:
    """Nothing reads reasoning there."""
    held = enforced(None, pb.ChatInput(), "Hi<think>", ANSWER, Seen)

    assert held is not None
    assert isinstance(held.constraint, Seen)
    assert source(held.constraint.grammar) == source(ANSWER)


@pytest.mark.parametrize("template", ["hermes", "qwen3-coder"])
@pytest.mark.parametrize("strict", [False, True])
def test_the_patterns_of_all_tools_are_read_within_the_same_bounds(
    template: str, strict: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Those beyond them are refused where they must be enforced, else told; the same is read once."""
    taken, take = 0, Steps.take

    def counted(steps: Steps, some: int = 1) -> None:
        nonlocal taken
        taken += some
        take(steps, some)

    def offered(patterns: list[str]) -> pb.ChatInput:
        tools = []
        for at, each in enumerate(patterns):
            text = json.dumps({"type": "object", "properties": {"a": {"type": "string", "pattern": each}}})
            tools.append(pb.Tool(name=f"f{at}", parameters_json_schema=text, strict=strict))
        return pb.ChatInput(tools=tools)

    monkeypatch.setattr(Steps, "take", counted)
    held = enforced(dialect(TEMPLATES[template]), offered([EMAIL] * 40), "Hi", None, Seen)
    assert held is not None
    assert held.notes == []

    many = offered([f"^(?!x)(?:.*a.{{12}}){{{at}}}(?!y)$" for at in range(1, 20)])
    taken = 0
    if strict:
        with pytest.raises(InferloomError, match=r"chat\.tools.*patterns that take too much work"):
            enforced(dialect(TEMPLATES[template]), many, "Hi", None, Seen)
    else:
        held = enforced(dialect(TEMPLATES[template]), many, "Hi", None, Seen)
        assert held is not None
        assert "f18: not all of its schema is enforced" in held.notes
    assert taken <= MOST_OF_ALL + MOST_STEPS
