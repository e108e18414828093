"""The key to a server: where it comes from, and that nobody sees it."""

import os
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from inferloom_mesh.watched import Watched

_LARGEST = 16 * 1024
"""Characters of a file that a key is read from."""

_WORD = re.compile(r"[\x21-\x7e]+")


@dataclass(frozen=True, slots=True)
class Key:
    """A key, which no message and no log shows."""

    value: str = field(repr=False)

    def hidden_in(self, text: str) -> str:
        """The text without it: servers repeat what they are sent."""
        return text.replace(self.value, "[key]") if len(self.value) > 3 else text


KeySource = Callable[[], Key]
"""Gives the key as it is now; an empty one where the server asks for none."""


def no_key() -> Key:
    """The server asks for none."""
    return Key("")


def in_variable(name: str) -> KeySource:
    """The key in a variable of the environment.

    Raises:
        ValueError: It is not set, or holds no key.
    """
    text = os.environ.get(name)
    if text is None:
        raise ValueError(f"there is no variable {name} in the environment, which key_env names")
    key = _key(text)
    return lambda: key


def in_file(file: Path) -> KeySource:
    """The key in a file, which may be replaced.

    Raises:
        ValueError: It cannot be read, or holds no key.
    """
    try:
        return Watched((file,), lambda: _read(file), f"the key in {file}").current
    except OSError as failure:
        raise ValueError(str(failure)) from None


def _read(file: Path) -> Key:
    try:
        with file.open(encoding="utf-8") as opened:
            return _key(opened.read(_LARGEST))
    except (OSError, UnicodeDecodeError) as failure:
        words = failure.strerror if isinstance(failure, OSError) else "it is no text"
        raise OSError(f"the file that key_file names cannot be read: {words}") from None
    except ValueError as wrong:
        raise OSError(str(wrong)) from None


def _key(text: str) -> Key:
    key = text.strip()
    if not _WORD.fullmatch(key):
        raise ValueError("the server's key must be one word of visible ASCII characters")
    return Key(key)
