"""Halves of characters, which JSON can write and no text can have."""

import re

_ESCAPES = re.compile(
    r"\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}"
    r"|(?P<half>\\u[dD][89a-fA-F][0-9a-fA-F]{2})"
    r"|\\.",
    re.DOTALL,
)


def without_halves(text: str) -> str:
    """JSON in which each escape of a surrogate without its other half is one of U+FFFD instead."""
    return _ESCAPES.sub(lambda found: "\\ufffd" if found["half"] else found[0], text)
