"""What a person types for a model, an adapter or an alias: names, and what they name."""

import re
from pathlib import Path

from inferloom_worker.sourcing.sources import SourceError
from inferloom_worker.sourcing.spec import Spec

_NAME = re.compile(r"[A-Za-z0-9][\w.:/-]{0,127}")
_QUERY = re.compile(r"\?[A-Za-z].*$", re.DOTALL)
"""Options of an engine behind a spec."""


def parse_model_flag(flag: str) -> tuple[str, str]:
    """Split ``NAME=SPEC`` or ``SPEC``; a name left out is made from the spec.

    Raises:
        SourceError: The name or the spec is empty, or the name holds other than letters, digits and
            ``. _ : / -``.
    """
    name, found, spec = flag.partition("=")
    # Engines' options have "=" signs of their own.
    if not found or name.startswith("echo:") or Spec.parse(name).is_server or "?" in name:
        name, spec = _default_name(flag), flag
    if not spec.strip():
        raise SourceError(f"{flag!r} names no model: expected NAME=SPEC or SPEC")
    return check_name(name), spec


def parse_adapter_flag(flag: str) -> tuple[str, str, str]:
    """Split ``NAME=BASE=SPEC``.

    Raises:
        SourceError: A part is missing, or a name holds other than letters, digits and ``. _ : / -``.
    """
    name, _, rest = flag.partition("=")
    base, _, spec = rest.partition("=")
    if not spec.strip():
        raise SourceError(f"{flag!r} names no adapter: expected NAME=BASE=SPEC")
    return check_name(name), check_name(base), spec


def parse_alias_flag(flag: str) -> tuple[str, str]:
    """Split ``NAME=MODEL``.

    Raises:
        SourceError: A part is missing, or holds other than letters, digits and ``. _ : / -``.
    """
    name, found, model = flag.partition("=")
    if not found:
        raise SourceError(f"{flag!r} names no model: expected NAME=MODEL")
    return check_name(name), check_name(model)


def check_name(name: str) -> str:
    """Return a model's name.

    Raises:
        SourceError: It is empty, too long, or holds other than letters, digits and ``. _ : / -``.
    """
    if not _NAME.fullmatch(name):
        raise SourceError(f"{name[:128]!r} cannot be a model's name: use letters, digits and . _ : / -")
    return name


def _default_name(typed: str) -> str:
    if typed.startswith("echo:"):
        return "echo"
    spec = Spec.parse(typed)
    if spec.is_server:
        if not spec.model_there:
            raise SourceError("name what a server serves: NAME=sidecar:URL, or ?model=NAME behind the URL")
        return spec.model_there
    what = _QUERY.sub("", spec.rest)
    path = Path(what)
    if path.suffix.lower() == ".gguf":
        return path.stem
    return path.resolve().name if path.is_dir() else what
