"""What is seen while something takes its time: a line with the time on a terminal, nothing in a pipe."""

from asyncio import CancelledError
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from inferloom_cli.terminal import terminal


@contextmanager
def step(words: str, *, left: str = "") -> Iterator[Callable[[str], None]]:
    """Show ``words`` and how long it has taken, on standard error, until the block ends.

    The block is given what changes the words. ``left`` is said where somebody interrupts the block: what
    becomes of that which others do.
    """
    console = terminal(stderr=True)
    columns = SpinnerColumn(), TextColumn("{task.description}", markup=False), TimeElapsedColumn()
    try:
        with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
            task = progress.add_task(words, total=None)
            yield lambda newer: progress.update(task, description=newer)
    except (CancelledError, KeyboardInterrupt):
        if left:
            console.print(left)
        raise
