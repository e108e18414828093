"""Reasoning at an answer's beginning, whatever pieces it comes in."""

import pytest

from inferloom_worker.output.reasoning import BY_NAME, FORMATS, ReasoningReader, find_reasoning
from tests.worker.heard import Heard, heard


def read(name: str, *pieces: str, opened: bool = False) -> Heard:
    """What is made of an answer that comes in these pieces."""
    reader = ReasoningReader(BY_NAME[name], opened=opened)
    return heard(*(reader.push(piece) for piece in pieces), reader.flush())


@pytest.mark.parametrize("marks", FORMATS, ids=lambda marks: marks.name)
def test_every_format_is_known_by_its_marks(marks: object) -> None:
    """By a template that has them."""
    named = next(each for each in FORMATS if each is marks)

    assert find_reasoning(f"a {named.begin} b {named.end}") is named
    assert read(named.name, f"{named.begin}Hm.{named.end}Yes.") == Heard("Yes.", "Hm.")


CASES = [
    ("<think>\nHm.\n\nWell.\n</think>\n\nYes <think> no", False, Heard("Yes <think> no", "Hm.\n\nWell.")),
    ("  <think>\n\n</think>\n\nYes.", False, Heard("Yes.")),
    ("Hm</thi</think>\nYes.\n", True, Heard("Yes.\n", "Hm</thi")),
    ("Hm.\n\n", True, Heard("", "Hm.")),
    ("<thinking> is a word.", False, Heard("<thinking> is a word.")),
    (" <thi", False, Heard(" <thi")),
    ("\n\nYes.", False, Heard("\n\nYes.")),
    ("日本</think>😀", True, Heard("😀", "日本")),
]


@pytest.mark.parametrize(("text", "opened", "expected"), CASES)
def test_it_is_told_apart_however_it_is_cut(text: str, opened: bool, expected: Heard) -> None:
    """Whole, in two at every place, by characters; and broken off anywhere."""
    assert read("think", text, opened=opened) == expected
    for cut in range(len(text)):
        assert read("think", text[:cut], text[cut:], opened=opened) == expected
        assert read("think", *text[:cut], opened=opened) == read("think", text[:cut], opened=opened)
    assert read("think", *text, opened=opened) == expected
