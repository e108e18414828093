"""Reasoning at an answer's beginning, whatever pieces it comes in."""

import pytest

from inferloom_worker.output.parsing import Said
from inferloom_worker.output.reasoning import BY_NAME, FORMATS, ReasoningReader, find_reasoning


def read(name: str, *pieces: str, opened: bool = False) -> Said:
    """What is made of an answer that comes in these pieces."""
    reader = ReasoningReader(BY_NAME[name], opened=opened)
    parts = [*(reader.push(piece) for piece in pieces), reader.flush()]
    return Said("".join(part.text for part in parts), "".join(part.reasoning for part in parts))


@pytest.mark.parametrize("marks", FORMATS, ids=lambda marks: marks.name)
def test_every_format_is_known_by_its_marks(marks: object) -> None:
    """By a template that has them."""
    named = next(each for each in FORMATS if each is marks)

    assert find_reasoning(f"a {named.begin} b {named.end}") is named
    assert read(named.name, f"{named.begin}Hm.{named.end}Yes.") == Said("Yes.", "Hm.")


CASES = [
    ("<think>\nHm.\n\nWell.\n</think>\n\nYes <think> no", False, Said("Yes <think> no", "Hm.\n\nWell.")),
    ("  <think>\n\n</think>\n\nYes.", False, Said("Yes.")),
    ("Hm</thi</think>\nYes.\n", True, Said("Yes.\n", "Hm</thi")),
    ("Hm.\n\n", True, Said("", "Hm.")),
    ("<thinking> is a word.", False, Said("<thinking> is a word.")),
    (" <thi", False, Said(" <thi")),
    ("\n\nYes.", False, Said("\n\nYes.")),
    ("日本</think>😀", True, Said("😀", "日本")),
]


@pytest.mark.parametrize(("text", "opened", "expected"), CASES)
def test_it_is_told_apart_however_it_is_cut(text: str, opened: bool, expected: Said) -> None:
    """Whole, in two at every place, by characters; and broken off anywhere."""
    assert read("think", text, opened=opened) == expected
    for cut in range(len(text)):
        assert read("think", text[:cut], text[cut:], opened=opened) == expected
        assert read("think", *text[:cut], opened=opened) == read("think", text[:cut], opened=opened)
    assert read("think", *text, opened=opened) == expected
