"""From what a person types to the model that is meant, and the engine that it is for."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from inferloom_worker.engines.registry import engine_kind, split_engine
from inferloom_worker.sourcing.amounts import Counted, uncounted
from inferloom_worker.sourcing.sources import ModelSource, SourceError, SourceKind, resolve


def find_model(
    spec: str,
    cache_dir: Path | None = None,
    on_progress: Callable[[str], None] = lambda _: None,
    on_bytes: Counted = uncounted,
) -> ModelSource:
    """Find the model that ``spec``, ``[ENGINE:]SPEC``, names, fetching it where needed. Blocking.

    Raises:
        SourceError: There is no such engine or model, or it holds nothing that may be loaded.
    """
    engine, rest = split_engine(spec)
    kind = None if engine is None else engine_kind(engine)
    if kind is not None and not kind.reads_files:
        return ModelSource(rest, SourceKind.OWN, engine=engine)
    query = ""
    if kind is not None and kind.takes_options:
        rest, _, query = rest.partition("?")
    source = resolve(rest, cache_dir, on_progress, on_bytes)
    if engine is not None and source.path is None:
        raise SourceError(f"{rest} is no model that the engine {engine} can compute")
    return replace(source, engine=engine, query=query)
