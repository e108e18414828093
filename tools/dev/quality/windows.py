"""The places of a text at which distributions are compared."""

from collections.abc import Sequence
from pathlib import Path

PROSE = Path(__file__).with_name("prose.txt")

WINDOW = 512
"""Tokens of one window. Each is computed by itself, from an empty cache."""

COUNT = 4

FIRST = WINDOW // 2
"""Places before this one have too little context to be counted; llama-perplexity leaves them out, too."""

SCORED = WINDOW - 1 - FIRST
"""Distributions of one window: the last place predicts nothing that is in the window."""


def windows(tokens: Sequence[int]) -> list[list[int]]:
    """The windows of a text.

    Raises:
        ValueError: It is too short.
    """
    if len(tokens) < COUNT * WINDOW:
        raise ValueError(f"the text has {len(tokens)} tokens, and {COUNT * WINDOW} are wanted")
    return [list(tokens[start : start + WINDOW]) for start in range(0, COUNT * WINDOW, WINDOW)]
