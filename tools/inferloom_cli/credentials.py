"""What the commands that ask a running mesh show, where it asks who calls."""

import os
import re
from dataclasses import dataclass

from inferloom_cli.refusal import MISUSED, RefusedError
from inferloom_gateway.access.key_text import PREFIX
from inferloom_mesh.secret import metadata_of
from inferloom_mesh.security import OPEN, Security
from inferloom_mesh.settings import ServiceSettings
from inferloom_mesh.tls_files import TlsFiles

Metadata = tuple[tuple[str, str], ...]
"""Metadata of calls."""


@dataclass(frozen=True, slots=True)
class Credentials:
    """What is shown to whoever is called."""

    metadata: Metadata = ()
    """With each call: the mesh's secret, or a key."""
    security: Security = OPEN
    """On each connection: a certificate, where there is one."""


NOTHING = Credentials()


def of_peer(settings: ServiceSettings) -> Credentials:
    """What shows the mesh's secret, and a certificate of the mesh; nothing where there are none.

    Raises:
        RefusedError: A file that is to hold them cannot be used.
    """
    return Credentials(_secret(settings), _security(settings))


def of_caller(settings: ServiceSettings, key: str | None) -> Credentials:
    """What shows a gateway who calls: an API key, or without one the mesh's secret.

    A key that the environment holds for OpenAI is shown only if it is one of ours.

    Raises:
        RefusedError: A file that is to hold the secret or a certificate cannot be used, or the key is none.
    """
    typed, others = (key or "").strip(), os.environ.get("OPENAI_API_KEY", "").strip()
    if typed == others and "INFERLOOM_API_KEY" not in os.environ and not typed.startswith(PREFIX):
        typed = ""
    shown = (("authorization", f"Bearer {as_header(typed)}"),) if typed else _secret(settings)
    return Credentials(shown, _security(settings))


def as_header(key: str) -> str:
    """A key as a header takes it: without the white space around it, such as the end of a file's line.

    Raises:
        RefusedError: No header takes it.
    """
    if re.search(r"[^!-~]", key := key.strip()):
        what = "the API key has white space, or letters and signs beyond ASCII, which no key has"
        raise RefusedError(f"{what}: look at --api-key, INFERLOOM_API_KEY and OPENAI_API_KEY", MISUSED)
    return key


def _secret(settings: ServiceSettings) -> Metadata:
    try:
        return metadata_of(settings.peer_secret())
    except OSError as failure:
        raise RefusedError(f"the mesh's secret cannot be had: {failure}", MISUSED) from failure


def _security(settings: ServiceSettings) -> Security:
    try:
        return OPEN if settings.tls is None else Security(tls=TlsFiles(settings.tls))
    except OSError as failure:
        raise RefusedError(str(failure), MISUSED) from failure
