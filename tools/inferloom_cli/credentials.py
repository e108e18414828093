"""What the commands that ask a running mesh show, where it asks who calls."""

import os

from inferloom_cli.refusal import MISUSED, RefusedError
from inferloom_gateway.access.key_text import PREFIX
from inferloom_mesh.secret import metadata_of
from inferloom_mesh.settings import ServiceSettings

Metadata = tuple[tuple[str, str], ...]
"""Metadata of calls."""


def of_peer(settings: ServiceSettings) -> Metadata:
    """What shows the mesh's secret; nothing where there is none.

    Raises:
        RefusedError: The file that is to hold it cannot be read.
    """
    try:
        return metadata_of(settings.peer_secret())
    except OSError as failure:
        raise RefusedError(f"the mesh's secret cannot be had: {failure}", MISUSED) from failure


def of_caller(settings: ServiceSettings, key: str | None) -> Metadata:
    """What shows a gateway who calls: an API key, or without one the mesh's secret.

    A key that the environment holds for OpenAI is shown only if it is one of ours.

    Raises:
        RefusedError: The file that is to hold the secret cannot be read.
    """
    if key is not None and "INFERLOOM_API_KEY" not in os.environ and key == os.environ.get("OPENAI_API_KEY"):
        key = key if key.startswith(PREFIX) else None
    return (("authorization", f"Bearer {key}"),) if key else of_peer(settings)
