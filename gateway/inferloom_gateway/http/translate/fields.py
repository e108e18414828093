"""The contract's field paths in the words of the REST façade."""

import re
from collections.abc import Callable

from inferloom_mesh.errors import InferloomError

_GROUP = re.compile(r"^(sampling|stopping|output|chat\.template|chat)\.")
_LEAF = {
    "include_stop": "include_stop_str_in_output",
    "variables": "chat_template_kwargs",
}
_PART = re.compile(r"\.parts(\[\d+\])?(\.text)?$")
_PROMPT = re.compile(r"^(text|input|token_ids(\.ids)?(?P<index>\[\d+\])?)$")
_INPUT = re.compile(r"^inputs\b(\[(?P<index>\d+)\])?")


def restate(error: InferloomError, rename: Callable[[str], str]) -> InferloomError:
    """The same error about the field that a REST caller sent."""
    if error.param is None:
        return error
    param = rename(error.param)
    message = error.message.replace(error.param, param)
    return InferloomError(error.reason, message, param=param, retry_after=error.retry_after)


def of_chat(path: str) -> str:
    """``chat.messages[0].parts[0].text`` → ``messages[0].content``; ``sampling.top_p`` → ``top_p``."""
    return "messages" if path in ("chat", "input") else _common(path)


def of_completion(prompt: str) -> Callable[[str], str]:
    """``token_ids.ids[3]`` → ``prompt[3]``, or ``prompt[1][3]`` for the second of several prompts."""

    def rename(path: str) -> str:
        match = _PROMPT.match(path)
        return _common(path) if match is None else prompt + (match["index"] or "")

    return rename


def of_tokenize(path: str) -> str:
    """As the other two, for a body that has a prompt or messages."""
    return "prompt" if path in ("text", "input") else of_chat(path)


def of_detokenize(path: str) -> str:
    """``token_ids[3]`` → ``tokens[3]``."""
    return path.replace("token_ids", "tokens", 1)


def of_embedding(offset: int) -> Callable[[str], str]:
    """``inputs[3].text`` → ``input[7]`` for the batch whose first input is the caller's fifth."""

    def rename(path: str) -> str:
        match = _INPUT.match(path)
        if match is None:
            return path
        return "input" if match["index"] is None else f"input[{offset + int(match['index'])}]"

    return rename


def _common(path: str) -> str:
    if path.startswith("constraint"):
        return "response_format"
    rest = _PART.sub(".content", _GROUP.sub("", path))
    return _LEAF.get(rest, rest)
