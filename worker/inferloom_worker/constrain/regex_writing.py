"""Trees of regular expressions as text for the compiler, which has neither places nor looks. Pure."""

from collections.abc import Iterator

from inferloom_worker.constrain.regex_nodes import (
    Alt,
    Chars,
    Edge,
    Look,
    Named,
    Node,
    Ranges,
    Repeat,
    Seq,
    UnsayableError,
    others,
)

MOST_TEXT = 65_536
"""Characters of a result. One of a pattern may become many: what is no digit is a thousand."""

NO_TEXT = r"[^\x{0}-\x{10FFFF}]"
"""What no text is."""

_ITSELF = frozenset("0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ_abcdefghijklmnopqrstuvwxyz @,:;=!%'\"")


def is_plain(node: Node) -> bool:
    """Whether it has neither places nor looks."""
    match node:
        case Chars() | Named():
            return True
        case Edge() | Look():
            return False
        case Repeat(item):
            return is_plain(item)
        case Seq(parts) | Alt(parts):
            return all(map(is_plain, parts))


def write_regex(node: Node) -> str:
    """A plain tree as text that matches the same texts, whole. Raises UnsayableError where it is too long."""
    pieces: list[str] = []
    size = 0
    for piece in _pieces(node):
        size += len(piece)
        if size > MOST_TEXT:
            raise UnsayableError
        pieces.append(piece)
    return "".join(pieces)


def _pieces(node: Node) -> Iterator[str]:
    match node:
        case Chars(low):
            yield of_ranges(low)
        case Named(text):
            yield text
        case Seq(items):
            for item in items:
                yield from _bracketed(item) if isinstance(item, Alt) else _pieces(item)
        case Alt(ways):
            for index, way in enumerate(ways):
                if index:
                    yield "|"
                yield from _pieces(way)
        case Repeat(item, least, most):
            yield from _pieces(item) if isinstance(item, Chars | Named) else _bracketed(item)
            yield _count(least, most)
        case Edge() | Look():
            raise ValueError(node)


def of_ranges(ranges: Ranges) -> str:
    """One of some characters."""
    if not ranges:
        return NO_TEXT
    if len(ranges) == 1 and ranges[0][0] == ranges[0][1]:
        return _character(ranges[0][0])
    if ranges[-1][1] == 0x10FFFF:
        rest = others(ranges)
        return "(?s:.)" if not rest else f"[^{''.join(map(_run, rest))}]"
    return f"[{runs(ranges)}]"


def runs(ranges: Ranges) -> str:
    """Characters as they stand within a set."""
    return "".join(map(_run, ranges))


def _bracketed(node: Node) -> Iterator[str]:
    yield "(?:"
    yield from _pieces(node)
    yield ")"


def _run(run: tuple[int, int]) -> str:
    first, last = map(_character, run)
    return first if first == last else f"{first}-{last}"


def _character(code: int) -> str:
    return chr(code) if chr(code) in _ITSELF else f"\\x{{{code:X}}}"


def _count(least: int, most: int | None) -> str:
    if (least, most) in ((0, None), (1, None), (0, 1)):
        return {(0, None): "*", (1, None): "+", (0, 1): "?"}[least, most]
    return f"{{{least}}}" if least == most else f"{{{least},{'' if most is None else most}}}"
