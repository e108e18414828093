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
    """What every service of a mesh has: a secret, or while one takes another's place both.

    What is sent is not the secret itself but its HMAC over a fixed text, which has one length and only ASCII.
    Whoever reads the traffic can send it again: that is what certificates will be for.

    Args:
        secrets: One in each line; white space around each does not count. The first is shown, all are taken.

    Raises:
        ValueError: There is none, or one is shorter than :data:`LEAST`.
    """

    def __init__(self, secrets: str) -> None:
        self._tokens = _tokens(secrets)

    @property
    def tokens(self) -> tuple[str, ...]:
        """What the secrets are shown by."""
        return self._tokens

    @property
    def metadata(self) -> tuple[tuple[str, str], ...]:
        """What goes with every call to a peer."""
        return ((KEY, self.tokens[0]),)

    def shown(self, token: str) -> bool:
        """Whether ``token`` was made of the same secret, in a time that does not depend on how much fits."""
        held = token.encode(errors="replace")
        return sum(hmac.compare_digest(held, each.encode()) for each in self.tokens) > 0

    def shown_by(self, metadata: Iterable[tuple[str, Any]]) -> bool:
        """Whether a call's metadata shows the secret."""
        return any(name == KEY and isinstance(value, str) and self.shown(value) for name, value in metadata)


class SecretFile(MeshSecret):
    """The same in a file, which may be replaced: what begins then shows, and takes, what it holds then.

    Raises:
        OSError: It cannot be read, or holds none; the message names it.
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


def _tokens(secrets: str) -> tuple[str, ...]:
    lines = [line.strip() for line in secrets.splitlines() if line.strip()]
    if not lines or any(len(line) < LEAST for line in lines):
        raise ValueError(f"the mesh's secret must have at least {LEAST} characters")
    return tuple(hmac.new(line.encode(), _PURPOSE, hashlib.sha256).hexdigest() for line in lines)


def _tokens_in(file: Path) -> tuple[str, ...]:
    try:
        return _tokens(file.read_text())
    except UnicodeDecodeError as failure:
        raise OSError(f"{file}: is no text") from failure
    except ValueError as wrong:
        raise OSError(f"{file}: {wrong}") from wrong
