"""What holds for all models of a worker."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from inferloom_worker.embed.options import EmbedOptions
from inferloom_worker.engine.options import EngineOptions

GenerationConfig = Literal["auto", "openai"]
"""``auto``: as the model's files say; ``openai``: OpenAI's defaults, whatever they say."""

Formats = tuple[tuple[str, str], ...]
"""Names of formats by model; by the empty name, of all others."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadOptions:
    """How models are loaded and how much of them runs at once."""

    engine: EngineOptions = field(default_factory=EngineOptions)
    embed: EmbedOptions = field(default_factory=EmbedOptions)
    cache_dir: Path | None = None
    """Folder for what can be fetched or computed again. None: the user's own."""
    generation_config: GenerationConfig = "auto"
    """Whether requests that are silent get the sampling values that the model's files give."""
    tool_formats: Formats = ()
    """How models write calls, where that is not left to their chat templates."""
    reasoning_formats: Formats = ()
    """How they mark reasoning; likewise."""


def chosen_format(formats: Formats, model: str) -> str:
    """The format of one model: its own, else that of all, else ``auto``."""
    given = dict(formats)
    return given.get(model, given.get("", "auto"))
