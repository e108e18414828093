"""What a person types for a model: ``[ENGINE:]MODEL``, or the address of a server."""

import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Self
from urllib.parse import parse_qs, urlsplit

from inferloom_worker.sourcing.demo import MODELS

SIDECAR = "sidecar"
"""The engine of models that a server computes."""

_PREFIX = re.compile(r"([a-z][a-z0-9_-]*):(.*)", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Spec:
    """A model, and the engine that is asked for by name."""

    engine: str | None
    """None: that is left to the model."""
    rest: str
    """What stands behind the engine's name: a model, for some engines with options, or what is its own."""

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read what was typed. ``echo`` with its options is one word, an address of HTTP is a server's, and
        what exists under the whole name is what is meant."""
        if _is_address(text):
            return cls(SIDECAR, text)
        found = _PREFIX.fullmatch(text)
        if found is None or text.startswith("echo:") or _exists(text):
            return cls(None, text)
        return cls(found[1], found[2])

    def __str__(self) -> str:
        return self.rest if self.engine is None or _is_address(self.rest) else f"{self.engine}:{self.rest}"

    @property
    def is_server(self) -> bool:
        """Whether it is the address of a server."""
        return self.engine == SIDECAR and _is_address(self.rest)

    @property
    def model_there(self) -> str | None:
        """What a server's model is called there, where the address says so."""
        return parse_qs(urlsplit(self.rest).query).get("model", [None])[0]

    def absolute(self) -> Self:
        """The same with a relative path counted from here. Addresses, hub ids and names that are known
        everywhere stay."""
        what, mark, options = self.rest, "", ""
        if self.engine is not None and not _exists(what):
            what, mark, options = self.rest.partition("?")
        known = self.engine == SIDECAR or what in MODELS or what.partition(":")[0] == "echo"
        if known or what.startswith("/") or not (is_path(what) or _exists(what)):
            return self
        return replace(self, rest=f"{Path(what).expanduser().resolve()}{mark}{options}")


def is_path(what: str) -> bool:
    """Whether it can only be a file or a folder, by its looks."""
    return what.lower().endswith(".gguf") or what.startswith((".", "/", "~"))


def _is_address(text: str) -> bool:
    return text.startswith(("http://", "https://"))


def _exists(what: str) -> bool:
    try:
        return bool(what) and Path(what).exists()  # the path of an empty text is the folder that one is in
    except (OSError, ValueError):  # the system does not even look
        return False
