"""From what a person types to the model that is meant, and the engine that it is for."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from inferloom_worker.engines.registry import EngineKind, engine_kind
from inferloom_worker.sourcing.amounts import Counted, uncounted
from inferloom_worker.sourcing.sources import ModelSource, SourceError, SourceKind, require_present, resolve
from inferloom_worker.sourcing.spec import Spec

_USUAL = EngineKind(None)
"""What holds of specs that name no engine."""


def find_model(
    text: str,
    cache_dir: Path | None = None,
    on_progress: Callable[[str], None] = lambda _: None,
    on_bytes: Counted = uncounted,
) -> ModelSource:
    """Find the model that ``text``, ``[ENGINE:]SPEC``, names, fetching it where needed. Blocking.

    Raises:
        SourceError: There is no such engine or model, or it holds nothing that may be loaded.
    """
    spec, kind, what, query = _read(text)
    if not kind.reads_files:
        return ModelSource(what, SourceKind.OWN, engine=spec.engine)
    source = resolve(what, cache_dir, on_progress, on_bytes)
    if spec.engine is not None and source.path is None:
        raise SourceError(f"{what} is no model that the engine {spec.engine} can compute")
    return replace(source, engine=spec.engine, query=query)


def require_model_present(text: str) -> None:
    """Make sure that the engine that ``text`` names is there, and the file or folder, if it names one. Quick,
    and fetches nothing.

    Raises:
        SourceError: It is not.
    """
    _, kind, what, _ = _read(text)
    if kind.reads_files:
        require_present(what)


def _read(text: str) -> tuple[Spec, EngineKind, str, str]:
    """What was typed, the kind of its engine, its model, and the options behind that."""
    spec = Spec.parse(text)
    kind = _USUAL if spec.engine is None else engine_kind(spec.engine)
    what, _, query = spec.rest.partition("?") if kind.takes_options else (spec.rest, "", "")
    return spec, kind, what, query
