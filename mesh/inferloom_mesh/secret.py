"""The mesh's shared secret: how its services know each other until they have certificates."""

import hashlib
import hmac
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from inferloom_mesh.watched import Watched

KEY = "inferloom-mesh"
"""Metadata key, and HTTP header, of what shows the secret."""

LEAST = 16
"""Characters of a secret: one that can be guessed is none."""

_PURPOSE = b"inferloom mesh peer v1"


class MeshSecret:
    """What every service of a mesh has.

    What is sent is not the secret itself but its HMAC over a fixed text, which has one length and only ASCII.
    Whoever reads the traffic can send it again: that is what certificates will be for.

    Args:
        secret: The whole text; white space around it does not count.

    Raises:
        ValueError: It is shorter than :data:`LEAST`.
    """

    def __init__(self, secret: str) -> None:
        self._tokens = (_token(secret.strip()),)

    @property
    def tokens(self) -> tuple[str, ...]:
        """What is taken; the first is shown."""
        return self._tokens

    @property
    def metadata(self) -> tuple[tuple[str, str], ...]:
        """What goes with every call to a peer."""
        return ((KEY, self.tokens[0]),)

    def shown(self, token: str) -> bool:
        """Whether ``token`` was made of one that is taken, in a time that does not depend on what fits."""
        held = token.encode(errors="replace")
        return sum(hmac.compare_digest(held, each.encode()) for each in self.tokens) > 0

    def shown_by(self, metadata: Iterable[tuple[str, Any]]) -> bool:
        """Whether a call's metadata shows the secret."""
        return any(name == KEY and isinstance(value, str) and self.shown(value) for name, value in metadata)


class SecretFile(MeshSecret):
    """The same in a file, one in each line: while a secret takes another's place both are taken, and the
    first is shown. A file that is replaced counts for what begins then. White space around one does not.

    Raises:
        OSError: It cannot be read, holds none, or has a line that is too short; the message names it.
    """

    def __init__(self, file: Path) -> None:
        self._file = Watched((file,), lambda: _tokens_in(file), f"the mesh's secret in {file}")

    @property
    def tokens(self) -> tuple[str, ...]:
        """As they are now."""
        return self._file.current()


def metadata_of(secret: MeshSecret | None) -> tuple[tuple[str, str], ...]:
    """What goes with every call to a peer, where the mesh has a secret."""
    return secret.metadata if secret is not None else ()


def _token(secret: str, line: int | None = None) -> str:
    if len(secret) < LEAST:
        where = "" if line is None else f"line {line}: each line is a secret, and "
        raise ValueError(f"{where}the mesh's secret must have at least {LEAST} characters")
    return hmac.new(secret.encode(), _PURPOSE, hashlib.sha256).hexdigest()


def _tokens_in(file: Path) -> tuple[str, ...]:
    try:
        lines = [(number, line.strip()) for number, line in enumerate(file.read_text().splitlines(), 1)]
        return tuple(_token(line, number) for number, line in lines if line) or (_token(""),)
    except UnicodeDecodeError as failure:
        raise OSError(f"{file}: is no text") from failure
    except ValueError as wrong:
        raise OSError(f"{file}: {wrong}") from wrong
