"""What a load that fails leaves behind."""

from types import ModuleType
from typing import NoReturn

import pytest

from inferloom_worker.engines.echo import EchoEngine
from inferloom_worker.hosting import generator_loading, model_loading
from inferloom_worker.hosting.load_options import LoadOptions
from inferloom_worker.hosting.model_loading import load_model
from inferloom_worker.sourcing.sources import SourceError


@pytest.mark.parametrize(
    ("module", "failing"),
    [
        (generator_loading, "_template"),
        (generator_loading, "_grammars"),
        (model_loading, "definition_hash"),
    ],
)
def test_an_engine_whose_model_comes_to_nothing_is_closed(
    module: ModuleType, failing: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever fails, and however: it would hold an accelerator's memory for ever."""
    closed: list[EchoEngine] = []
    close = EchoEngine.close

    def closing(engine: EchoEngine) -> None:
        closed.append(engine)
        close(engine)

    def fails(*_: object) -> NoReturn:
        raise KeyError("what nobody thought of")

    monkeypatch.setattr(EchoEngine, "close", closing)
    monkeypatch.setattr(module, failing, fails)
    with pytest.raises(SourceError, match="what nobody thought of"):
        load_model("e", "echo", LoadOptions())
    assert len(closed) == 1
