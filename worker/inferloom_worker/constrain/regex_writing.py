"""Trees of regular expressions as text for the compiler, which has neither places nor looks. Pure."""

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
    others,
)

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
    """A plain tree as text that matches the same texts, whole."""
    match node:
        case Chars(low):
            return of_ranges(low)
        case Named(text):
            return text
        case Seq(items):
            return "".join(_bracketed(item) if isinstance(item, Alt) else write_regex(item) for item in items)
        case Alt(ways):
            return "|".join(map(write_regex, ways))
        case Repeat(item, least, most):
            inner = write_regex(item) if isinstance(item, Chars | Named) else _bracketed(item)
            return inner + _count(least, most)
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


def _bracketed(node: Node) -> str:
    return f"(?:{write_regex(node)})"


def _run(run: tuple[int, int]) -> str:
    first, last = map(_character, run)
    return first if first == last else f"{first}-{last}"


def _character(code: int) -> str:
    return chr(code) if chr(code) in _ITSELF else f"\\x{{{code:X}}}"


def _count(least: int, most: int | None) -> str:
    if (least, most) in ((0, None), (1, None), (0, 1)):
        return {(0, None): "*", (1, None): "+", (0, 1): "?"}[least, most]
    return f"{{{least}}}" if least == most else f"{{{least},{'' if most is None else most}}}"
