"""The JSON files of an encoder's folder, read only as far as they are understood."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from inferloom_worker.sourcing.json_files import read_object


class UnknownFormError(ValueError):
    """A folder is in a form that only sentence-transformers' own modules read; the message says how."""


def settle(
    file: str, config: Mapping[str, Any], *, free: Iterable[str], fixed: Mapping[str, tuple[Any, ...]]
) -> None:
    """Make sure that nothing in ``config`` changes vectors in a way that is not understood.

    Args:
        file: Where it was read, for the message.
        config: What was read.
        free: Keys that may have any value.
        fixed: Keys that may be there with one of these values only.

    Raises:
        UnknownFormError: There is another key, or another value.
    """
    free = frozenset(free)
    for key, value in config.items():
        if key not in free and value not in fixed.get(key, ()):
            raise UnknownFormError(f"{file} has {key}: {value!r}")


def whole(file: str, config: Mapping[str, Any], key: str) -> int:
    """A whole number of at least 1.

    Raises:
        UnknownFormError: ``key`` is missing or something else.
    """
    value = config.get(key)
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise UnknownFormError(f"{file} has {key}: {value!r}")
    return value


def is_matryoshka(folder: Path) -> bool:
    """Whether the model says that its vectors may be cut: by a list of lengths, or by cutting them itself.

    Raises:
        ValueError: A file holds no JSON object.
    """
    configs = (read_object(folder / name) for name in ("config_sentence_transformers.json", "config.json"))
    keys = ("truncate_dim", "matryoshka_dimensions", "is_matryoshka")
    return any(config.get(key) for config in configs for key in keys)
