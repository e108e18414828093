"""Where OpenAI's API sends null and its description has none."""

from typing import Any


def without_first_nulls(document: Any) -> Any:
    """A text completion without the null that stands for its prompt's first token, which nothing precedes: it
    is there where a prompt is echoed with log-probabilities."""
    if not isinstance(document, dict) or document.get("object") != "text_completion":
        return document
    choices = [
        {**choice, "logprobs": {name: _after_null(values) for name, values in choice["logprobs"].items()}}
        if choice.get("logprobs")
        else choice
        for choice in document["choices"]
    ]
    return {**document, "choices": choices}


def _after_null(values: Any) -> Any:
    return values[1:] if isinstance(values, list) and values[:1] == [None] else values
