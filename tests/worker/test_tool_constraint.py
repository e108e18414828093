"""What an answer is held to and what reads it agree on where reasoning ends."""

from collections.abc import Sequence

import pytest

from inferloom.v1 import inference_pb2 as pb
from inferloom_worker.constrain.grammar import Ending, Grammar, Kind
from inferloom_worker.constrain.source import source
from inferloom_worker.engine.constraint import Matcher
from inferloom_worker.hosting.tool_constraint import enforced
from inferloom_worker.output.parsing import Said
from tests.worker import grammars
from tests.worker.test_dialect import THINKING, WEATHER, dialect, said, turn

ANSWER = Grammar('{"const": {"a": 1}}', "constraint.json_schema", Kind.JSON_SCHEMA)


class Seen:
    """A constraint that shows what it was made of."""

    notes: Sequence[str] = ()

    def __init__(self, grammar: Grammar, *, ending: Ending | None = None) -> None:
        self.grammar = grammar
        self.ending = ending

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
    assert said(THINKING, chat, prompt, text) == Said('{"a":1}', "Hm.")


def test_text_that_is_no_conversation_is_held_to_its_grammar_from_the_beginning() -> None:
    """Nothing reads reasoning there."""
    held = enforced(None, pb.ChatInput(), "Hi<think>", ANSWER, Seen)

    assert held is not None
    assert isinstance(held.constraint, Seen)
    assert source(held.constraint.grammar) == source(ANSWER)
