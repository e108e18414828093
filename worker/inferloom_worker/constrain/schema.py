"""JSON Schemas, as the compiler is given them. Pure."""

import json
from typing import Any

from inferloom_mesh.errors import InferloomError, invalid
from inferloom_worker.constrain.schema_forms import well_formed
from inferloom_worker.constrain.schema_places import Schema
from inferloom_worker.constrain.schema_rewriting import Rewriting

MOST_DEPTH = 64
"""How deep schemas may be nested, in objects and lists."""

OPTIONS = {"whitespace_flexible": False, "item_separator": ", ?", "key_separator": ": ?"}
"""White space: at most one space, after a comma or a colon. Models that may put in any tend not to end."""


def read_schema(param: str, text: str) -> Schema:
    """The schema that a text is, without keywords that are null.

    Raises:
        InferloomError: INVALID_ARGUMENT at ``param``: it is none, or has a keyword whose value is none.
    """
    try:
        schema = json.loads(text, parse_constant=_no_number)
    except (ValueError, RecursionError) as failure:
        raise invalid(param, f"{param} is no JSON: {failure}.") from None
    if not isinstance(schema, dict | bool):
        raise invalid(param, f"{param} must be a JSON object.")
    if _depth(schema) > MOST_DEPTH:
        raise invalid(param, f"{param} is nested more than {MOST_DEPTH} deep.")
    formed, wrong = well_formed(schema)
    if wrong:
        raise malformed(param, wrong)
    return formed if isinstance(formed, dict) else bool(formed)


def malformed(param: str, wrong: list[str]) -> InferloomError:
    """The error for keywords whose values are none."""
    return invalid(param, f"{param} has {wrong[0]}.")


def enforced_schema(param: str, schema: Schema) -> tuple[dict[str, Any], list[str]]:
    """The schema for the compiler, as Lark's ``%json`` takes it too, and what of it is not enforced as meant.

    Raises:
        InferloomError: INVALID_ARGUMENT at ``param``: it has something that cannot be enforced.
    """
    rewriting = Rewriting(param, schema)
    result = rewriting.result()
    body = result if isinstance(result, dict) else {} if result else {"anyOf": []}
    return {**body, "x-guidance": OPTIONS}, rewriting.notes


def _no_number(name: str) -> Any:
    raise ValueError(f"{name} is no JSON number")


def _depth(value: Any) -> int:
    """How deep a value is nested. Without recursion: it may be deep."""
    depth, level = 0, [value]
    while level:
        below: list[Any] = []
        for item in level:
            if isinstance(item, dict):
                below.extend(item.values())
            elif isinstance(item, list):
                below.extend(item)
        level = below
        depth += 1
    return depth
