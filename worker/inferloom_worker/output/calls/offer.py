"""What a request lets a model call."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class Offer:
    """The tools of a request, for those who read its answer."""

    custom: Mapping[str, bool]
    """By name, whether a tool takes free text."""
    new_id: Callable[[int], str]
    """The id of a choice's call, by its index."""
    most: int | None = None
    """Calls after which an answer ends. None: any number."""
    schemas: Mapping[str, Any] = field(default_factory=dict)
    """By name, the schema of a function's arguments: where values have no quotes, it tells what they are."""
