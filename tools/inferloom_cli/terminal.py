"""The terminal that commands write to."""

import os
import re
from collections.abc import Iterable

from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment

_ORDERS = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")
"""What a terminal obeys in the place of showing it: control characters, and those that turn the direction of
writing around. Tabs and the ends of lines are none."""


_ENDLESS = 10_000
"""Columns where nobody counts them."""


def harmless(text: str) -> str:
    """A text of somebody else's, such as a model's answer or a name that a caller chose, as it may go to a
    terminal: there it could change the title, the clipboard, or what stands above. Carriage returns are left
    out."""
    return _ORDERS.sub("\N{REPLACEMENT CHARACTER}", text.replace("\r", ""))


class _Terminal(Console):
    """Shows all texts harmlessly; what moves the cursor is rich's own, and no text."""

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        """See the base."""
        for segment in super().render(renderable, options):
            if segment.control is None and _ORDERS.search(segment.text):
                yield Segment(harmless(segment.text), segment.style)
            else:
                yield segment


def terminal(*, stderr: bool = False, width: int | None = None) -> Console:
    """A console that writes texts as they are: brackets and colons in a name or an address are no marks of
    rich's, and no text is an order to the terminal. What has a style is a :class:`rich.text.Text`.

    Args:
        stderr: Whether it is standard error.
        width: In columns. None: as the terminal has it. Where there is none, as in a pipe or a file, no line
            is cut, unless COLUMNS says otherwise: what is searched for is found.
    """
    made = _Terminal(stderr=stderr, width=width, markup=False, emoji=False, highlight=False)
    if width is None and not made.is_terminal and "COLUMNS" not in os.environ:
        made.width = _ENDLESS
    return made
