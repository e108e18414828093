"""How many properties an object has, in what grammars have: which are required, and which cannot be. Pure."""

from itertools import combinations
from math import comb
from typing import Any

from inferloom_worker.constrain.schema_places import Schema
from inferloom_worker.constrain.schema_types import names_of

MOST_WAYS = 64
"""Sets of properties for one bound."""

COUNTED_TWICE = "'minProperties' counts a name that comes twice"
"""The note on objects that :func:`may_count_twice`."""


def without_counts(schema: dict[str, Any]) -> list[Schema]:
    """Take out ``minProperties`` and ``maxProperties`` of an object that has optional properties, all of them
    listed; return what says the same. Grammars have these bounds where they are 0 or 1, and where all that is
    listed is required; where it would take too many sets they stay."""
    listed = schema.get("properties")
    if not isinstance(listed, dict) or schema.get("additionalProperties") is not False:
        return []
    needed = set(names_of(schema))
    if schema.get("patternProperties") or not needed <= set(listed):
        return []
    optional = [name for name, part in listed.items() if name not in needed and part is not False]
    found: list[Schema] = []
    least, most = schema.get("minProperties", 0), schema.get("maxProperties")
    more = least - len(needed)
    if least > 1 and 0 < more <= len(optional) and comb(len(optional), more) <= MOST_WAYS:
        del schema["minProperties"]
        found.append({"anyOf": [{"required": list(names)} for names in combinations(optional, more)]})
    elif least and more <= 0:
        del schema["minProperties"]
    fewer = len(needed) + len(optional) - most if most is not None else 0
    if most is not None and fewer <= 0:
        del schema["maxProperties"]
    elif most is not None and most > 1 and most >= len(needed) and comb(len(optional), fewer) <= MOST_WAYS:
        del schema["maxProperties"]
        found.append(
            {
                "anyOf": [
                    {"properties": dict.fromkeys(names, False)} for names in combinations(optional, fewer)
                ]
            }
        )
    return found


def may_count_twice(schema: dict[str, Any]) -> bool:
    """Whether ``minProperties`` asks for several properties that are not listed: grammars do not tell whether
    one of them comes twice."""
    open_ = schema.get("additionalProperties", True) is not False or bool(schema.get("patternProperties"))
    return open_ and bool(schema.get("minProperties", 0) > len(set(names_of(schema))) + 1)
