"""JSON Schemas, as grammars. Pure."""

import json
from typing import Any

from inferloom_worker.constrain.grammar import Grammar

OPTIONS = {"whitespace_flexible": False, "item_separator": ", ?", "key_separator": ": ?"}
"""White space: at most one space, after a comma or a colon. Models that may put in any tend not to end."""


def json_schema_grammar(param: str, schema: Any) -> Grammar:
    """The grammar of JSON texts that conform to a schema, which is JSON itself: an object or a bool."""
    body = {**(schema if isinstance(schema, dict) else _of_bool(schema)), "x-guidance": OPTIONS}
    return Grammar(json.dumps({"grammars": [{"json_schema": body}]}), param)


def _of_bool(schema: bool) -> dict[str, Any]:
    return {} if schema else {"not": {}}
