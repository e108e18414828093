"""What a person may type in a conversation instead of a message. Pure."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from inferloom_mesh.suggestion import nearest

QUOTES = '"""'
"""Begins and ends a message of several lines."""

MORE = "… "
"""Prompts for the further lines of such a message."""

COMMANDS = {
    "/help": "this list; also /?",
    "/model [NAME]": "talk to another model, or show which there are",
    "/system [TEXT]": "set the standing instructions, or show them; /system off drops them",
    "/set [NAME VALUE]": "set temperature, top_p, max_tokens …, or show them; VALUE default takes one back",
    "/new": "start over",
    "/bye": "leave; also /exit, /quit, Ctrl-D",
    QUOTES: "begin, and end, a message of several lines",
}

_SAME = {"/?": "/help", "/h": "/help", "/exit": "/bye", "/quit": "/bye", "/q": "/bye", "/clear": "/new"}
_BARE = {"exit": "/bye", "quit": "/bye", "bye": "/bye", "help": "/help"}
"""Words that leave, or help, in every shell: hardly ever what somebody wants to tell a model."""

_WORDS = tuple(name.split()[0] for name in COMMANDS if name.startswith("/"))


@dataclass(frozen=True, slots=True)
class Command:
    """A command: its word, such as ``/set``, and what follows it."""

    word: str
    rest: str


class UnknownCommandError(Exception):
    """Something that begins like a command and is none; the message says what there is."""


def read(line: str) -> Command | None:
    """The command that a line is; None: it is a message.

    A slash begins a command where a word follows it, so that ``/etc/hosts`` and ``/ 2`` are messages.

    Raises:
        UnknownCommandError: It begins like a command.
    """
    line = _BARE.get(line.strip().lower(), line.strip())
    word, _, rest = line.partition(" ")
    name = _SAME.get(word.lower(), word.lower())
    if name in _WORDS:
        return Command(name, rest.strip())
    if word.startswith("/") and "/" not in word[1:] and word[1:].isalpha():
        near = nearest(name, (*_WORDS, *_SAME))
        meant = f"; did you mean {near}?" if near else ""
        raise UnknownCommandError(f"{word[:80]} is no command{meant} (there are {', '.join(_WORDS)})")
    return None


class DroppedError(Exception):
    """A message of several lines was begun, and is not to be sent."""


@dataclass(frozen=True, slots=True)
class Message:
    """What a person typed."""

    text: str
    quoted: bool
    """Whether it stood between triple quotes, so that nothing in it is a command."""


def messages(ask: Callable[[str], str], prompt: str = "> ", more: str = MORE) -> Iterator[Message]:
    """What a person types, a line or a block between triple quotes at a time; never empty.

    Args:
        ask: Shows a prompt and returns the line that is typed; what it raises ends the iterator, but for a
            DroppedError in a block, which is dropped.
        prompt: Shown for each message.
        more: Shown for the further lines of a block.
    """
    while True:
        line = ask(prompt).strip()
        quoted = line.startswith(QUOTES)
        if quoted:
            try:
                line = _block(line.removeprefix(QUOTES), lambda: ask(more)).strip()
            except DroppedError:
                continue
        if line:
            yield Message(line, quoted)


def _block(first: str, ask: Callable[[], str]) -> str:
    lines = [first]
    while not lines[-1].rstrip().endswith(QUOTES):
        lines.append(ask())
    lines[-1] = lines[-1].rstrip().removesuffix(QUOTES)
    return "\n".join(lines)
