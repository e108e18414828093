"""What the rows of :mod:`inferloom.parameters` say.

A parameter is added in four places: its field in the contract, with the ``param`` option where it has a
range, a default or models that honour it; its rows in ``rest.textproto``, one for each thing that REST
callers may call it; its line in the gateway's schema of each endpoint; and the code that gives it meaning.
``tests/parity/samples.py`` has a way to say it, by which it is sent through every door.
``make protos`` then makes the table and ``docs/parameters.md``, and the tests name whatever is missing or
does not agree.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any


@dataclass(frozen=True, slots=True)
class Range:
    """The numbers from ``least`` to ``most``; without ``least`` itself where it is ``above``."""

    least: float = -math.inf
    most: float = math.inf
    above: bool = False

    def __contains__(self, value: float) -> bool:
        """Whether a number is inside; NaN is outside of everything."""
        return (self.least < value if self.above else self.least <= value) and value <= self.most

    def words(self) -> str:
        """What a number in it is, such as "between 0 and 2"."""
        least, most = _number(self.least), _number(self.most)
        if self.above:
            return f"above {least}" if math.isinf(self.most) else f"above {least} and at most {most}"
        if math.isinf(self.most):
            return f"at least {least}"
        return f"at most {most}" if math.isinf(self.least) else f"between {least} and {most}"


def _number(value: float) -> str:
    if 2.0**53 <= abs(value) < math.inf:  # only powers of two are that large
        return f"{'-' if value < 0 else ''}2^{round(math.log2(abs(value)))}"
    return str(int(value)) if math.isfinite(value) and value == int(value) else f"{value:g}"


class Honour(Enum):
    """The models that honour a field."""

    GENERATING = "generating"
    CHATTING = "chatting"
    EMBEDDING = "embedding"
    SHORTENING = "shortening"
    NONE = "none"
    CONSTRAINING = "constraining"
    INFILLING = "infilling"


@dataclass(frozen=True, slots=True, kw_only=True)
class ContractField:
    """A field of a request of the contract.

    ``range`` is that of its number, of its text's length in ``unit``, or of each entry of a list or map.
    """

    request: str
    """Message that it is reached from, such as ``GenerateRequest``."""
    path: str
    """Such as ``sampling.top_p``; lists of messages on the way have ``[]``."""
    type: str
    """As in the contract: ``float``, ``repeated string``."""
    range: Range | None = None
    default: float | None = None
    unit: str = ""
    min_items: int | None = None
    max_items: int | None = None
    honoured_by: Honour | None = None
    """None: it is no optional parameter of a model."""

    @property
    def capability(self) -> str:
        """How models' cards list it."""
        return self.path.rpartition(".")[2]


class Meaning(Enum):
    """What becomes of a REST parameter."""

    FIELD = "field"
    """It sets a field of the contract."""
    OWN = "own"
    """The façade does it by itself."""
    HINT = "hint"
    """It is accepted and changes nothing."""
    REFUSED = "refused"
    """It is refused, unless its value asks for nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RestParameter:
    """A parameter of one REST endpoint."""

    name: str
    """Place in the body, such as ``messages[].role``."""
    meaning: Meaning
    field: str = ""
    """Path of the field that it sets."""
    shape: str = ""
    """JSON types, joined by ``|``."""
    range: Range | None = None
    default: float | None = None
    min_items: int | None = None
    max_items: int | None = None
    required: bool = False
    alias_of: str = ""
    """The name of which it is another."""
    nothing: tuple[Any, ...] = ()
    """Values besides null with which a refused parameter asks for nothing."""
    note: str = ""


@dataclass(frozen=True, slots=True)
class RestEndpoint:
    """An endpoint that takes a body, with its parameters by name."""

    name: str
    path: str
    request: str
    parameters: Mapping[str, RestParameter]
