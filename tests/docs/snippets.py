"""The blocks of code in README and in the documents.

A block with ``<!-- illustrative: reason -->`` in the line before is held to nothing.
"""

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[2]
OUTPUT = ("", "text", "mermaid")
"""Languages of what is shown and not typed."""

_FENCE = re.compile(r"^(?P<indent> *)```(?P<language>\w*)[^\n]*\n(?P<text>.*?)^(?P=indent)```$", re.M | re.S)
_NOTE = re.compile(r"<!-- illustrative: (.+?) -->\s*$")


@dataclass(frozen=True, slots=True)
class Snippet:
    """One block."""

    file: str
    line: int
    language: str
    text: str
    illustrative: str = ""
    """Why it is held to nothing; empty: it is."""

    def __str__(self) -> str:
        return f"{self.file}:{self.line}"


@dataclass(frozen=True, slots=True)
class Line:
    """One command of a shell block."""

    words: tuple[str, ...]
    """The program and its arguments, without variables that are set for it alone."""
    text: str
    """As it stands there."""


@cache
def snippets() -> tuple[Snippet, ...]:
    """All of them, those of generated pages left out."""
    files = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
    pages = [file for file in files if "docs/reference/" not in file.as_posix()]
    return tuple(snippet for file in pages for snippet in _in(file))


def _in(file: Path) -> Iterator[Snippet]:
    text = file.read_text(encoding="utf-8")
    for match in _FENCE.finditer(text):
        before = text[: match.start()].rstrip().rpartition("\n")[2]
        note = _NOTE.search(before)
        indent = match["indent"]
        body = "".join(line.removeprefix(indent) for line in match["text"].splitlines(keepends=True))
        yield Snippet(
            file.relative_to(ROOT).as_posix(),
            text.count("\n", 0, match.start()) + 1,
            match["language"],
            body,
            note[1] if note else "",
        )


def lines(snippet: Snippet) -> Iterator[Line]:
    """The commands of a shell block, those behind a pipe too."""
    for command in _commands(snippet.text):
        lexer = shlex.shlex(command.replace("\\\n", " "), posix=True, punctuation_chars="|;&<>")
        lexer.whitespace_split = True
        words: list[str] = []
        for word in lexer:
            if word in ("|", ";", "&&", "&", "||"):
                yield from _line(words, command)
                words = []
            else:
                words.append(word)
        yield from _line(words, command)


def _commands(text: str) -> Iterator[str]:
    """Commands with their continuations: lines that end in a backslash, or within quotes."""
    kept = ""
    for line in text.splitlines():
        kept = f"{kept}{line}\n"
        try:
            shlex.split(kept.removesuffix("\\\n"), comments=True)
        except ValueError:
            continue
        if line.rstrip().endswith("\\"):
            continue
        if shlex.split(kept, comments=True):
            yield kept.strip()
        kept = ""
    assert not kept.strip(), f"it does not end: {kept}"


def _line(words: list[str], command: str) -> Iterator[Line]:
    for place, word in enumerate(words):
        if word.startswith((">", "<")):  # where it goes to, or comes from
            words = words[:place]
            break
    while words and re.fullmatch(r"[A-Z_]+=.*", words[0], re.S):
        words = words[1:]
    if words:
        yield Line(tuple(words), command)
