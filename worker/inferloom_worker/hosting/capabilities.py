"""What models' cards list as supported parameters."""

from inferloom.parameter_table import Honour
from inferloom.parameters import FIELDS

CONSTRAINTS = ("json_schema", "json_object", "regex", "choice", "lark", "gbnf")
"""The kinds of constraints that there are, as cards list them."""


def honoured_by(*kinds: Honour) -> list[str]:
    """The optional fields that models of these kinds honour, by name, in the contract's order."""
    return [row.capability for row in FIELDS if row.honoured_by in kinds]
