"""The contract's constraints, as grammars that are not looked into yet. Pure, and quick."""

import json

from inferloom.v1 import inference_pb2 as pb
from inferloom_mesh.errors import invalid
from inferloom_worker.constrain.grammar import Grammar, Kind

MOST_CHARACTERS = 2**18
"""Of a schema or a grammar."""

MOST_CHOICES = 1024


def read_constraint(constraint: pb.Constraint) -> Grammar:
    """What a constraint asks for; it is not known yet whether it compiles.

    Raises:
        InferloomError: INVALID_ARGUMENT, at the field.
    """
    kind = constraint.WhichOneof("grammar")
    param = f"constraint.{kind}"
    match kind:
        case "json_schema":
            return Grammar(_bounded(param, constraint.json_schema), param, Kind.JSON_SCHEMA)
        case "json_object":
            if not constraint.json_object:
                raise invalid(param, f"{param} must be true.")
            return Grammar('{"type": "object"}', param, Kind.JSON_SCHEMA)
        case "regex":
            return Grammar(_bounded(param, constraint.regex), param, Kind.REGEX)
        case "choice":
            return Grammar(_choices(param, list(constraint.choice.texts)), param, Kind.CHOICE)
        case "lark":
            return Grammar(_bounded(param, constraint.lark), param, Kind.LARK)
        case _:
            words = "constraint must have one of json_schema, json_object, regex, choice and lark."
            raise invalid("constraint", words)


def _bounded(param: str, text: str) -> str:
    if not text.strip():
        raise invalid(param, f"{param} must not be empty.")
    if len(text) > MOST_CHARACTERS:
        raise invalid(param, f"{param} can have at most {MOST_CHARACTERS} characters, not {len(text)}.")
    return text


def _choices(param: str, texts: list[str]) -> str:
    if not 1 <= len(texts) <= MOST_CHOICES:
        raise invalid(param, f"{param} must have 1 to {MOST_CHOICES} texts, not {len(texts)}.")
    if not all(texts):
        raise invalid(param, f"{param} has an empty text.")
    return _bounded(param, json.dumps(list(dict.fromkeys(texts)), ensure_ascii=False))
