"""The terminal that commands write to."""

from rich.console import Console


def terminal(*, stderr: bool = False, width: int | None = None) -> Console:
    """A console that writes texts as they are: brackets and colons in a name or an address are no marks of
    rich's. What has a style is a :class:`rich.text.Text`.

    Args:
        stderr: Whether it is standard error.
        width: In columns. None: as the terminal has it.
    """
    return Console(stderr=stderr, width=width, markup=False, emoji=False, highlight=False)
