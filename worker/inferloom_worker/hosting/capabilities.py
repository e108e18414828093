"""What models' cards list as supported parameters."""

from collections.abc import Container

from inferloom.parameter_table import Honour
from inferloom.parameters import ENDPOINTS, FIELDS

CONSTRAINTS = ("json_schema", "json_object", "regex", "choice", "lark", "gbnf")
"""The kinds of constraints that there are, as cards list them."""


_VARIABLES = "chat.template.variables."
VARIABLES = tuple(
    dict.fromkeys(
        row.field.removeprefix(_VARIABLES)
        for endpoint in ENDPOINTS
        for row in endpoint.parameters.values()
        if row.field.startswith(_VARIABLES)
    )
)
"""The variables of chat templates that are parameters by themselves at some door."""


def read_by(template: Container[str]) -> list[str]:
    """Those of :data:`VARIABLES` that a template reads, of which all variables are given."""
    return [name for name in VARIABLES if name in template]


def honoured_by(*kinds: Honour) -> list[str]:
    """The optional fields that models of these kinds honour, by name, in the contract's order."""
    return [row.capability for row in FIELDS if row.honoured_by in kinds]
