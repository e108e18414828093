"""Fields in the sentences of errors. Each door has its own names for them, so their places are kept. Pure."""

import re
from collections.abc import Callable, Iterable

Place = tuple[int, int]
"""Where the name of a field begins and ends in a sentence, in characters."""

_BEGIN, _END = "\ufdd0", "\ufdd1"
"""Noncharacters, which Unicode leaves to programs. A caller who quotes them only mixes up his own message."""
_MARKED = re.compile(f"{_BEGIN}([^{_BEGIN}{_END}]*){_END}|[{_BEGIN}{_END}]")
_PLACE = re.compile(r"(\d{1,5})-(\d{1,5})")


def named(path: str) -> str:
    """A field in a sentence, in the contract's words; a door that has another name puts it in its place."""
    return f"{_BEGIN}{path}{_END}"


def told(sentence: str) -> tuple[str, tuple[Place, ...]]:
    """The sentence as it is read, and where it names fields."""
    made, places, done, length = list[str](), list[Place](), 0, 0
    for found in _MARKED.finditer(sentence):
        before, name = sentence[done : found.start()], found[1] or ""
        length += len(before)
        if name:
            places.append((length, length + len(name)))
        made += [before, name]
        done, length = found.end(), length + len(name)
    return ("".join([*made, sentence[done:]]), tuple(places)) if done else (sentence, ())


def renamed(sentence: str, places: Iterable[Place], rename: Callable[[str], str] = str) -> str:
    """The sentence with its fields as :func:`named` has them, each as ``rename`` calls it.

    Places that it does not have, or that are not in their order, are passed over.
    """
    made, done = list[str](), 0
    for begin, end in places:
        if done <= begin < end <= len(sentence):
            made += [sentence[done:begin], named(rename(sentence[begin:end]))]
            done = end
    return "".join([*made, sentence[done:]])


def begins(sentence: str, path: str) -> bool:
    """Whether a sentence begins with the name of a field."""
    return bool(path) and re.match(rf"{re.escape(path)}(?![\w\[]|\.\w)", sentence) is not None


def written(places: Iterable[Place]) -> str:
    """Places as text: ``0-14,21-36``."""
    return ",".join(f"{begin}-{end}" for begin, end in places)


def read(text: str) -> list[Place]:
    """The same, back; what is none is left out."""
    return [(int(begin), int(end)) for begin, end in _PLACE.findall(text)]
