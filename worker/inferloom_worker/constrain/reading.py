"""The contract's constraints, as grammars. Pure."""

import json
import re
from typing import Any

from inferloom.v1 import inference_pb2 as pb
from inferloom_mesh.errors import invalid
from inferloom_worker.constrain.grammar import Grammar
from inferloom_worker.constrain.schema import json_schema_grammar

MOST_CHARACTERS = 2**18
"""Of a schema or a grammar."""

MOST_CHOICES = 1024

_UNSAFE = re.compile(r"\\.|/|\n|\r", re.DOTALL)
_SAFE = {"/": r"\/", "\n": r"\n", "\r": r"\r", "\\\n": r"\n", "\\\r": r"\r"}


def read_constraint(constraint: pb.Constraint) -> Grammar:
    """The grammar of a constraint; it is not known yet whether it compiles.

    Raises:
        InferloomError: INVALID_ARGUMENT, at the field.
    """
    kind = constraint.WhichOneof("grammar")
    param = f"constraint.{kind}"
    match kind:
        case "json_schema":
            return json_schema_grammar(param, _schema(param, _bounded(param, constraint.json_schema)))
        case "json_object":
            if not constraint.json_object:
                raise invalid(param, f"{param} must be true.")
            return json_schema_grammar(param, {"type": "object"})
        case "regex":
            text = _bounded(param, constraint.regex)
            return Grammar(_lark(f"start: {_regex(text)}"), param)
        case "choice":
            return _choices(param, list(constraint.choice.texts))
        case "lark":
            return Grammar(_lark(_bounded(param, constraint.lark)), param)
        case _:
            param = "constraint"
            raise invalid(param, "constraint must have one of json_schema, json_object, regex, choice, lark.")


def _bounded(param: str, text: str) -> str:
    if not text.strip():
        raise invalid(param, f"{param} must not be empty.")
    if len(text) > MOST_CHARACTERS:
        raise invalid(param, f"{param} can have at most {MOST_CHARACTERS} characters, not {len(text)}.")
    return text


def _schema(param: str, text: str) -> Any:
    try:
        schema = json.loads(text)
    except (ValueError, RecursionError) as failure:
        raise invalid(param, f"{param} is no JSON: {failure}.") from None
    if not isinstance(schema, dict | bool):
        raise invalid(param, f"{param} must be a JSON object.")
    return schema


def _regex(text: str) -> str:
    """A regular expression between slashes, as Lark has it."""
    inside = _UNSAFE.sub(lambda found: _SAFE.get(found[0], found[0]), text)
    return f"/{inside}/"


def _choices(param: str, texts: list[str]) -> Grammar:
    if not 1 <= len(texts) <= MOST_CHOICES:
        raise invalid(param, f"{param} must have 1 to {MOST_CHOICES} texts, not {len(texts)}.")
    if not all(texts):
        raise invalid(param, f"{param} has an empty text.")
    if sum(map(len, texts)) > MOST_CHARACTERS:
        raise invalid(param, f"{param} can have at most {MOST_CHARACTERS} characters in all.")
    alternatives = " | ".join(json.dumps(text, ensure_ascii=False) for text in dict.fromkeys(texts))
    return Grammar(_lark(f"start: {alternatives}"), param)


def _lark(text: str) -> str:
    return json.dumps({"grammars": [{"lark_grammar": text}]})
