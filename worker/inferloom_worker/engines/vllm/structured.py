"""A constraint as vLLM's structured outputs have it. Pure."""

import json
import re
from typing import Any

from inferloom_worker.engine.constraint import PortableConstraint

_SPECIAL = re.compile(r"<\||<\[|</?[A-Za-z_]+>")
"""What may name a special token in Lark: vLLM checks grammars without the model's tokens."""


def structured(constraint: PortableConstraint) -> dict[str, str] | None:
    """The field of vLLM's ``StructuredOutputsParams`` that says the same, for its backend ``guidance``. None:
    there is none."""
    if constraint.ignores_ends or constraint.stops:
        return None
    try:
        found = json.loads(constraint.grammar)
    except ValueError:
        return _lark(constraint.grammar)
    grammars: list[dict[str, Any]] = found.get("grammars", []) if isinstance(found, dict) else []
    if len(grammars) != 1:
        return None
    only = grammars[0]
    if set(only) == {"json_schema"}:
        return {"json": json.dumps(only["json_schema"])}
    return _lark(only["lark_grammar"]) if set(only) == {"lark_grammar"} else None


def _lark(text: str) -> dict[str, str] | None:
    # "::=" would have vLLM take it for another kind of grammar.
    return None if _SPECIAL.search(text) or "::=" in text else {"grammar": text}
