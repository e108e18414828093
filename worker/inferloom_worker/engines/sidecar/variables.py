"""The variables of a chat template in a request to a server. Pure."""

from collections.abc import Mapping
from typing import Any

from inferloom_mesh.errors import InferloomError, unsupported
from inferloom_mesh.named_fields import named
from inferloom_worker.engines.sidecar.facts import Facts

_EFFORT, _VERBOSITY = "reasoning_effort", "verbosity"
_PATH = "chat.template.variables"


def spelled(given: Mapping[str, Any], facts: Facts) -> tuple[dict[str, Any], list[str]]:
    """What a server is sent of them, and what becomes of them that it does not tell, one sentence each.

    Raises:
        InferloomError: UNSUPPORTED_PARAMETER at one that the server, or its model's template, does not read.
    """
    can, rest, notes = facts.chat_parameters, dict(given), list[str]()
    body = _effort(rest, facts, notes) if _EFFORT in rest else {}
    if _VERBOSITY in rest and "variables" not in can:
        del rest[_VERBOSITY]
        notes.append(_dropped(_VERBOSITY))
    if rest and "variables" not in can:
        raise not_supported(_PATH, facts)
    return body | ({can["variables"]: rest} if rest else {}), notes


def _effort(rest: dict[str, Any], facts: Facts, notes: list[str]) -> dict[str, Any]:
    """What is said of the effort beside the other variables, of which ``rest`` keeps what is to be given."""
    can, path = facts.chat_parameters, f"{_PATH}.{_EFFORT}"
    if _EFFORT in can:
        return {can[_EFFORT]: rest.pop(_EFFORT)}
    known = facts.variables
    unread = known is not None and _EFFORT not in known
    if rest[_EFFORT] != "none":
        if "variables" not in can:
            raise not_supported(path, facts)
        if unread:
            raise unsupported(path, f"{path} is not supported: the model's chat template does not read it.")
        if known is None:
            notes.append(f"{_EFFORT} was left to the model's server: its chat template may not read it.")
        return {}
    if "variables" not in can:
        notes.append(_dropped(_EFFORT))
    elif known is None or unread:
        rest.setdefault("enable_thinking", False)
    if "variables" not in can or unread:
        del rest[_EFFORT]
    return {}


def _dropped(name: str) -> str:
    return f"{name} has no effect: the model's server knows no such parameter."


def not_supported(path: str, facts: Facts) -> InferloomError:
    """The error for a field that the server knows nothing of."""
    return unsupported(path, f"The model's server ({facts.kind.value}) does not support {named(path)}.")
