"""Long quotations in sentences. Pure, and linear in the sentence: callers write what is quoted."""

import re
from bisect import bisect_left
from collections.abc import Callable

_MARKS = "'\""
_OPENS = re.compile(r"""(?<![^\s(\[])['"]""")
_CLOSES = {mark: re.compile(mark + r"(?=[\s.,:;?!)\]]|$)") for mark in _MARKS}
_JOINS = {mark: re.compile(f"{mark}(?=(?:,| or) {mark})") for mark in _MARKS}
"""Between two of several quotations in a row."""


def shortened(sentence: str, most: int, short: Callable[[str], str]) -> str:
    """The sentence with each quotation of more than ``most`` characters as ``short`` has it. Several in a row
    are none."""
    closes = {mark: _places(_CLOSES[mark], sentence) for mark in _MARKS}
    joins = {mark: _places(_JOINS[mark], sentence) for mark in _MARKS}
    made, done = list[str](), 0
    for found in _OPENS.finditer(sentence):
        begin, mark = found.end(), found[0]
        if made and found.start() <= done:
            continue  # it is in the one before, or its end
        end = _first(closes[mark], begin + most + 1)
        if end is None or ((join := _first(joins[mark], begin)) is not None and join < end):
            continue
        made += [sentence[done:begin], short(sentence[begin:end])]
        done = end
    return "".join([*made, sentence[done:]])


def _places(pattern: re.Pattern[str], text: str) -> list[int]:
    return [found.start() for found in pattern.finditer(text)]


def _first(places: list[int], least: int) -> int | None:
    at = bisect_left(places, least)
    return places[at] if at < len(places) else None
