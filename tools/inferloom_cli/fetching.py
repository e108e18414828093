"""What is seen while a model comes: a bar on a terminal, a line now and then elsewhere."""

import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)

from inferloom_cli.terminal import terminal

Words = Callable[[str], None]
Amounts = Callable[[int, int | None], None]


@contextmanager
def fetching(spec: str) -> Iterator[tuple[Words, Amounts]]:
    """Show on standard error what happens until the block ends.

    The block is given what takes words, and what takes bytes that have come and that there are; both may be
    used from any thread.
    """
    from inferloom_worker.sourcing.amounts import Sayings

    console = terminal(stderr=True)
    try:
        if console.is_terminal:
            with _drawn(spec, console) as told:
                yield told
        else:
            yield _print, Sayings(spec, _print)
    except KeyboardInterrupt:
        # Whatever comes is let go of at its next piece; who cannot wait for that asks again.
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        _print("stopped: files that are here whole are kept; the same command fetches the others")
        raise


@contextmanager
def _drawn(spec: str, console: Console) -> Iterator[tuple[Words, Amounts]]:
    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console) as progress:
        task = progress.add_task(spec, total=None, visible=False)

        def count(done: int, total: int | None) -> None:
            progress.update(task, completed=done, total=total, visible=True)

        yield lambda words: console.print(words), count


def _print(words: str) -> None:
    print(words, file=sys.stderr, flush=True)
