"""Engines by name: those that are built in, and those that installed packages bring along.

A package offers an engine as an entry point of the group ``inferloom.engines`` whose value is an
:class:`EngineKind`. It is found when a model asks for it by name: ``--model NAME=ENGINE:SPEC``.
"""

from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import entry_points

from inferloom_worker.engine.options import EngineOptions
from inferloom_worker.engine.protocol import Engine
from inferloom_worker.engines.echo import EchoEngine
from inferloom_worker.sourcing.echo_options import EchoOptions
from inferloom_worker.sourcing.imports import large_imports
from inferloom_worker.sourcing.sources import ModelSource, SourceError
from inferloom_worker.sourcing.spec import SIDECAR

GROUP = "inferloom.engines"

EngineFactory = Callable[[ModelSource, EngineOptions, int], Engine]
"""Starts an engine for (source, options, number of token ids). Blocking, for seconds; raises ValueError or
OSError with a message for people where the model cannot be served."""


@dataclass(frozen=True, slots=True)
class EngineKind:
    """One kind of engine. ``reads_files`` is false where what follows its name is the engine's own, and no
    model on this machine or the hub. With ``takes_options`` a question mark ends the spec of the model, and
    options follow (``ModelSource.query``). One without a ``start`` has no tokens; the worker
    loads it by its name."""

    start: EngineFactory | None
    reads_files: bool = True
    takes_options: bool = False


def _start_echo(source: ModelSource, options: EngineOptions, vocab_size: int) -> Engine:
    return EchoEngine(EchoOptions.parse(source.spec), options, vocab_size)


def _start_torch(source: ModelSource, options: EngineOptions, vocab_size: int) -> Engine:
    assert source.path is not None
    with large_imports():
        # Imported here: it takes seconds, and a worker with only echo or embedding models needs none of it.
        from inferloom_worker.engines.torch.torch_loading import load_engine
    engine: Engine = load_engine(source.path, options)
    return engine


def _start_vllm(source: ModelSource, options: EngineOptions, vocab_size: int) -> Engine:
    with large_imports():
        from inferloom_worker.engines.vllm.loading import start
    return start(source, options)


BUILT_IN = {
    "echo": EngineKind(_start_echo, reads_files=False),
    SIDECAR: EngineKind(None, reads_files=False),
    "torch": EngineKind(_start_torch),
    "vllm": EngineKind(_start_vllm, takes_options=True),
}


def names() -> list[str]:
    """Every engine that can be asked for, in order of name."""
    return sorted({*BUILT_IN, *(entry.name for entry in entry_points(group=GROUP))})


def engine_kind(name: str) -> EngineKind:
    """The engine of that name.

    Raises:
        SourceError: There is none; the message lists those there are.
    """
    if name in BUILT_IN:
        return BUILT_IN[name]
    for entry in entry_points(group=GROUP, name=name):
        kind = entry.load()
        if isinstance(kind, EngineKind):
            return kind
    raise SourceError(f"there is no engine {name!r}; there are {', '.join(names())}")
