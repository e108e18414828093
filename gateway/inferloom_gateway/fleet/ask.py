"""What a request asks of a worker, as far as routing is concerned. Pure."""

from collections.abc import Callable
from typing import Any, NamedTuple

from inferloom.parameters import FIELDS
from inferloom.v1 import inference_pb2
from inferloom_gateway.fleet.member import Member
from inferloom_gateway.fleet.prompt_keys import PromptKeys
from inferloom_mesh.light_dataclasses import dataclass

_PATHS: dict[str, dict[str, tuple[str, ...]]] = {}
for _row in FIELDS:
    if _row.honoured_by is not None and "[]" not in _row.path:
        _PATHS.setdefault(_row.request, {})[_row.capability] = tuple(_row.path.split("."))
_KINDS = frozenset(kind.name for kind in inference_pb2.Constraint.DESCRIPTOR.oneofs_by_name["grammar"].fields)
_PATHS["GenerateRequest"].update((kind, ("constraint", kind)) for kind in _KINDS)

NOTHING: frozenset[str] = frozenset()


def honoured(card: inference_pb2.Model) -> frozenset[str]:
    """What of requests a model honours: optional parameters, and kinds of constraints.

    A card that tells no kinds, though constraints are honoured, is of a worker that does not know of them:
    any may be among them.
    """
    kinds = card.constraints or (_KINDS if "constraint" in card.supported_parameters else ())
    return frozenset((*card.supported_parameters, *kinds))


class Wanted(NamedTuple):
    """What a worker must have so that a request may be given to it, now or once it has room, or is there: of
    what not all workers of the model have."""

    model: str
    task: "inference_pb2.Task.ValueType | None" = None
    """What the model must be able to do; None: anything."""
    needs: frozenset[str] = NOTHING
    """What it must honour, as :func:`honoured` tells."""

    def by(self, member: Member) -> bool:
        """Whether a worker has all of it, in whatever state it is."""
        card = member.models.get(self.model)
        return card is not None and self.told(card)

    def told(self, card: inference_pb2.Model) -> bool:
        """Whether a card of the model tells all of it."""
        if self.task is not None and self.task not in card.tasks:
            return False
        return not self.needs or self.needs <= honoured(card)


@dataclass(frozen=True, slots=True)
class Ask:
    """What must be true of a worker, and how the prompt begins."""

    model: str
    task: "inference_pb2.Task.ValueType | None" = None
    """What the model must be able to do; None: anything."""
    keys: Callable[[], PromptKeys] | None = None
    """Hashes how the prompt begins; called only where there is a choice. None: no affinity."""
    request: Any = None
    """The request, for the optional fields that it has."""

    def needs(self, names: frozenset[str]) -> frozenset[str]:
        """Those of ``names``, which are such as :func:`honoured` tells, that the request gives."""
        paths = _PATHS.get(type(self.request).__name__, {})
        return frozenset(name for name in names if name in paths and _given(self.request, paths[name]))


def _given(message: Any, path: tuple[str, ...]) -> bool:
    for name in path[:-1]:
        if not message.HasField(name):
            return False
        message = getattr(message, name)
    field = message.DESCRIPTOR.fields_by_name[path[-1]]
    if field.has_presence:
        return bool(message.HasField(path[-1]))
    return bool(getattr(message, path[-1]))
