"""What the commands that ask a running mesh show, where it asks who calls."""

import os
import re
from dataclasses import dataclass, field

from inferloom_cli.refusal import MISUSED, RefusedError
from inferloom_gateway.access.key_text import PREFIX
from inferloom_mesh.secret import MeshSecret
from inferloom_mesh.security import OPEN, Security
from inferloom_mesh.settings import ServiceSettings
from inferloom_mesh.tls_files import TlsFiles

Metadata = tuple[tuple[str, str], ...]
"""Metadata of calls."""


@dataclass(frozen=True, slots=True)
class Credentials:
    """What is shown to whoever is called."""

    key: str = field(default="", repr=False)
    """With each call: an API key. Empty: the mesh's secret, where there is one."""
    security: Security = OPEN
    """That secret, and on each connection a certificate, where there is one."""

    @property
    def metadata(self) -> Metadata:
        """What goes with a call that begins now: a command may run for longer than a secret is one."""
        return (("authorization", f"Bearer {self.key}"),) if self.key else self.security.metadata


NOTHING = Credentials()


def of_peer(settings: ServiceSettings) -> Credentials:
    """What shows the mesh's secret, and a certificate of the mesh; nothing where there are none.

    Raises:
        RefusedError: A file that is to hold them cannot be used.
    """
    return Credentials(security=_security(settings))


def of_caller(settings: ServiceSettings, key: str | None) -> Credentials:
    """What shows a gateway who calls: an API key, or without one the mesh's secret.

    A key that the environment holds for OpenAI is shown only if it is one of ours.

    Raises:
        RefusedError: A file that is to hold the secret or a certificate cannot be used, or the key is none.
    """
    typed, others = (key or "").strip(), os.environ.get("OPENAI_API_KEY", "").strip()
    if typed == others and "INFERLOOM_API_KEY" not in os.environ and not typed.startswith(PREFIX):
        typed = ""
    return Credentials(as_header(typed), _security(settings, keyed=bool(typed)))


def as_header(key: str) -> str:
    """A key as a header takes it: without the white space around it, such as the end of a file's line.

    Raises:
        RefusedError: No header takes it.
    """
    if re.search(r"[^!-~]", key := key.strip()):
        what = "the API key has white space, or letters and signs beyond ASCII, which no key has"
        raise RefusedError(f"{what}: look at --api-key, INFERLOOM_API_KEY and OPENAI_API_KEY", MISUSED)
    return key


def secret_of(settings: ServiceSettings) -> MeshSecret | None:
    """The mesh's secret; None: it has none.

    Raises:
        RefusedError: The file that is to hold it cannot be used, or it is too short.
    """
    try:
        return settings.peer_secret()
    except OSError as failure:
        raise RefusedError(f"the mesh's secret cannot be had: {failure}", MISUSED) from failure


def _security(settings: ServiceSettings, *, keyed: bool = False) -> Security:
    secret = None if keyed else secret_of(settings)
    try:
        return Security(secret, None if settings.tls is None else TlsFiles(settings.tls))
    except OSError as failure:
        raise RefusedError(str(failure), MISUSED) from failure
