"""What a request asks of a worker, as far as routing is concerned. Pure."""

from collections.abc import Callable
from typing import Any

from inferloom.parameters import FIELDS
from inferloom.v1 import inference_pb2
from inferloom_gateway.fleet.prompt_keys import PromptKeys
from inferloom_mesh.light_dataclasses import dataclass

_PATHS: dict[str, dict[str, tuple[str, ...]]] = {}
for _row in FIELDS:
    if _row.honoured_by is not None and "[]" not in _row.path:
        _PATHS.setdefault(_row.request, {})[_row.capability] = tuple(_row.path.split("."))
_KINDS = frozenset(kind.name for kind in inference_pb2.Constraint.DESCRIPTOR.oneofs_by_name["grammar"].fields)
_PATHS["GenerateRequest"].update((kind, ("constraint", kind)) for kind in _KINDS)


def honoured(card: inference_pb2.Model) -> frozenset[str]:
    """What of requests a model honours: optional parameters, and kinds of constraints.

    A card that tells no kinds, though constraints are honoured, is of a worker that does not know of them:
    any may be among them.
    """
    kinds = card.constraints or (_KINDS if "constraint" in card.supported_parameters else ())
    return frozenset((*card.supported_parameters, *kinds))


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
