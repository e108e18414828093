"""The contract's field paths in the words of the REST façade, by the parameter table."""

import re
from collections.abc import Callable
from functools import cache

from inferloom.parameter_table import Meaning
from inferloom.parameters import ENDPOINTS
from inferloom_mesh.errors import InferloomError, Reason
from inferloom_mesh.named_fields import renamed

_INDEX = re.compile(r"\[([^\]]*)\]")
_PROMPT = re.compile(r"^(text|input|token_ids(\.ids)?(?P<index>\[\d+\])?)$")
_INPUT = re.compile(r"^inputs\[(\d+)\]")

Rename = Callable[[str], str]


def restate(error: InferloomError, rename: Rename) -> InferloomError:
    """The same error about the fields that a REST caller sent."""
    told = error.restated(rename)
    if error.reason is not Reason.MODEL_NOT_FOUND or error.param is None:
        return told
    message = f"{renamed(told.message, told.places)} GET /v1/models lists all."
    return InferloomError(told.reason, message, param=told.param, retry_after=told.retry_after)


def of(endpoint: str) -> Rename:
    """What an endpoint's callers call a field: ``chat.messages[0].parts[0].text`` → ``messages[0].content``;
    ``sampling.top_p`` → ``top_p``."""
    return lambda path: _name(endpoint, path)


def of_completion(prompt: str) -> Rename:
    """``token_ids.ids[3]`` → ``prompt[3]``, or ``prompt[1][3]`` for the second of several prompts."""

    def rename(path: str) -> str:
        match = _PROMPT.match(path)
        return _name("completions", path) if match is None else prompt + (match["index"] or "")

    return rename


def of_embedding(offset: int) -> Rename:
    """``inputs[3].text`` → ``input[7]`` for the batch whose first input is the caller's fifth."""

    def rename(path: str) -> str:
        return _name("embeddings", _INPUT.sub(lambda at: f"inputs[{offset + int(at[1])}]", path))

    return rename


_NO_INPUT = {"chat": "messages", "responses": "input", "tokenize": "prompt"}
"""What is named where none of the contract's inputs is there."""


def _name(endpoint: str, path: str) -> str:
    """The name of the field, else of the nearest field in it or around it, else the path."""
    if path == "input":
        return _NO_INPUT.get(endpoint, path)
    indices = _INDEX.findall(path)
    names, pattern = _names(endpoint), _INDEX.sub("[]", path)
    while pattern:
        name = names.get(pattern) or names.get(pattern.removesuffix("[]"))
        if name is not None:
            last = f"[{indices[pattern.count('[]') - 1]}]" if pattern not in names else ""
            return _filled(name, indices) + last
        within = (name for field, name in names.items() if field.startswith((f"{pattern}.", f"{pattern}[].")))
        if (name := next(within, None)) is not None:
            return _filled(name, indices)
        pattern = pattern.rpartition(".")[0]
    return path


def _filled(name: str, indices: list[str]) -> str:
    given = iter(indices)
    return _INDEX.sub(lambda _: f"[{next(given, '')}]", name)


@cache
def _names(endpoint: str) -> dict[str, str]:
    """What an endpoint's callers call each field that they can set."""
    names: dict[str, str] = {}
    for row in next(each for each in ENDPOINTS if each.name == endpoint).parameters.values():
        if row.meaning is Meaning.FIELD and not row.alias_of:
            names.setdefault(row.field, row.name)
    return names
