"""What can be typed in a conversation."""

from itertools import takewhile

import pytest

from inferloom.v1.inference_pb2 import SamplingOptions, StoppingOptions
from inferloom_cli.chat_commands import (
    MORE,
    Command,
    DroppedError,
    Message,
    UnknownCommandError,
    messages,
    read,
)
from inferloom_cli.chat_settings import change, shown, with_defaults


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("/help", Command("/help", "")),
        ("/?", Command("/help", "")),
        ("/set temperature 0", Command("/set", "temperature 0")),
        ("/SET  top_p 1 ", Command("/set", "top_p 1")),
        ("/exit", Command("/bye", "")),
        ("/quit", Command("/bye", "")),
        ("quit", Command("/bye", "")),
        ("/system Be brief.", Command("/system", "Be brief.")),
        ("hello", None),
        ("help me with this", None),
        ("/etc/hosts is what?", None),
        ("/ 2", None),
        ("/2 of a cake", None),
    ],
)
def test_commands_are_told_from_messages(line: str, expected: Command | None) -> None:
    """A slash and a word; a path or a fraction is none."""
    assert expected == read(line)


@pytest.mark.parametrize(("line", "meant"), [("/hlep", "/help"), ("/by", "/bye"), ("/frobnicate", None)])
def test_an_unknown_command_names_those_there_are(line: str, meant: str | None) -> None:
    """And the one that was meant."""
    with pytest.raises(UnknownCommandError) as unknown:
        read(line)
    assert "/model" in str(unknown.value)
    assert (f"did you mean {meant}?" in str(unknown.value)) == (meant is not None)


LEAVES = "that is all"


def typed(*lines: str) -> list[Message]:
    """The messages of a person who types these lines and leaves."""
    left = iter(lines)

    def ask(prompt: str) -> str:
        return next(left, LEAVES)

    return [*takewhile(lambda message: message.text != LEAVES, messages(ask))]


def test_a_line_is_a_message_and_triple_quotes_hold_several() -> None:
    """Empty lines are none, and what is quoted is no command."""
    assert typed("a", "  ", '"""/new', "", 'b"""', '"""one"""', '""" """', "c") == [
        Message("a", False),
        Message("/new\n\nb", True),
        Message("one", True),
        Message("c", False),
    ]


def test_a_block_can_be_dropped() -> None:
    """By Ctrl-C at one of its lines; what is typed next is a message of its own."""
    lines = iter(('"""one', "two", None, "three", LEAVES))

    def ask(prompt: str) -> str:
        if (line := next(lines)) is None:
            assert prompt == MORE
            raise DroppedError
        return line

    said = [*takewhile(lambda message: message.text != LEAVES, messages(ask))]
    assert said == [Message("three", False)]


def test_a_silent_model_is_drawn_from_sanely() -> None:
    """Nobody says anything: 0.7 and 0.95."""
    sent = with_defaults(SamplingOptions(), SamplingOptions())
    assert sent.temperature == pytest.approx(0.7)
    assert sent.top_p == pytest.approx(0.95)


def test_the_model_and_the_person_are_heard_first() -> None:
    """A card with defaults is left to the worker, and a temperature that was typed comes alone."""
    card = SamplingOptions(temperature=0.2)
    assert with_defaults(SamplingOptions(), card) == SamplingOptions()
    assert with_defaults(SamplingOptions(top_k=5), card) == SamplingOptions(top_k=5)
    asked = SamplingOptions(temperature=0)
    assert with_defaults(asked, SamplingOptions()) == asked


def test_set_changes_and_takes_back() -> None:
    """What holds is shown with whose it is."""
    sampling, stopping = SamplingOptions(), StoppingOptions()
    change(sampling, stopping, "temperature", "0.1")
    change(sampling, stopping, "max_tokens", "9")
    assert shown(sampling, stopping, SamplingOptions(top_k=3)) == [
        "temperature 0.1  (yours)",
        "top_k 3  (the model's)",
        "max_tokens 9  (yours)",
    ]
    change(sampling, stopping, "temperature", "default")
    change(sampling, stopping, "max_tokens", "default")
    assert shown(sampling, stopping, SamplingOptions()) == [
        "temperature 0.7  (of this command, as the model says nothing)",
        "top_p 0.95  (of this command, as the model says nothing)",
    ]


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("temprature", "1", "there is no temprature to set"),
        ("temperature", "hot", "must be a number"),
        ("max_tokens", "-1", "must be a whole number"),
        ("seed", "1.5", "must be a whole number"),
    ],
)
def test_what_cannot_be_set_is_told(name: str, text: str, words: str) -> None:
    """In words for the person."""
    with pytest.raises(ValueError, match=words):
        change(SamplingOptions(), StoppingOptions(), name, text)
