"""The keyboard of a conversation: line editing, history, and silence while an answer streams."""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, TextIO

from platformdirs import user_state_path


@contextmanager
def history() -> Iterator[None]:
    """Line editing with what was typed in earlier conversations, where the platform has it.

    A history that cannot be read or written is done without.
    """
    try:
        import readline
    except ImportError:
        yield
        return
    file: Path = user_state_path("inferloom", appauthor=False) / "chat_history"
    with suppress(OSError):
        file.parent.mkdir(parents=True, exist_ok=True)
        readline.read_history_file(file)
    readline.set_history_length(1000)
    try:
        yield
    finally:
        with suppress(OSError):
            readline.write_history_file(file)


def settings_of(terminal: int | TextIO) -> "list[Any] | None":
    """What a terminal is set to, as termios has it; None where it is no terminal."""
    try:
        import termios
    except ImportError:
        return None
    try:
        return termios.tcgetattr(terminal)
    except (OSError, ValueError, termios.error):
        return None


@contextmanager
def unechoed(descriptor: int = 0) -> Iterator[None]:
    """Keep what is typed inside the block off the screen; it is read after it, at the next prompt.

    Without effect where the descriptor is no terminal.
    """
    before = settings_of(descriptor)
    if before is None:
        yield
        return
    import termios

    silent = [*before]
    silent[3] &= ~termios.ECHO
    termios.tcsetattr(descriptor, termios.TCSANOW, silent)
    try:
        yield
    finally:
        termios.tcsetattr(descriptor, termios.TCSANOW, before)
