"""Where OpenAI's API sends null, and how its description says so."""

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


def nullable(schema: Any) -> Any:
    """A schema, and all within it, in the words of JSON Schema, which has no ``nullable``."""
    if isinstance(schema, list):
        return [nullable(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    made = {name: nullable(value) for name, value in schema.items()}
    return {"anyOf": [made, {"type": "null"}]} if made.pop("nullable", None) is True else made


def as_a_body(event: Any) -> Any:
    """An event of a text completion in the form of the whole, of which only the last event has the ends."""
    if not isinstance(event, dict) or "choices" not in event:
        return event
    choices = [{**each, "finish_reason": each["finish_reason"] or "stop"} for each in event["choices"]]
    return {name: value for name, value in event.items() if value is not None} | {"choices": choices}


def _after_null(values: Any) -> Any:
    return values[1:] if isinstance(values, list) and values[:1] == [None] else values
