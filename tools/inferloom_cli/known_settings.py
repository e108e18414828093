"""The settings that some service knows, and the sentence about one that none does."""

import os
import re
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from functools import cache

from inferloom_cli.client_settings import ClientSettings
from inferloom_cli.key_settings import KeySettings
from inferloom_cli.runmesh.readiness import READY_VARIABLE
from inferloom_gateway.settings import GatewaySettings
from inferloom_mesh.runtime import LIFELINE_VARIABLE
from inferloom_mesh.settings import CONFIG_VARIABLE, settings_file
from inferloom_mesh.suggestion import nearest
from inferloom_registry.settings import RegistrySettings
from inferloom_worker.settings import WorkerSettings
from inferloom_worker.sourcing.demo import CACHE_VARIABLE

PREFIX = "INFERLOOM_"

OTHER_VARIABLES = frozenset(
    {
        CONFIG_VARIABLE,
        CACHE_VARIABLE,
        LIFELINE_VARIABLE,
        READY_VARIABLE,
        "INFERLOOM_API_KEY",
        "INFERLOOM_KERNELS",  # read when the project is installed
    }
)
"""Variables that have our prefix and are no settings of a service."""

_SERVICE_LINK = re.compile(r"INFERLOOM_(\w+_)?(SERVICE_(HOST|PORT\w*)|PORT(_\d+_(TCP|UDP)\w*)?)")
"""What Kubernetes and old Docker put into each container's environment for a service called inferloom."""


@cache
def known_names() -> frozenset[str]:
    """Every setting of every service and of the command line, as the settings file has it."""
    kinds = (ClientSettings, KeySettings, RegistrySettings, GatewaySettings, WorkerSettings)
    return frozenset(name for kind in kinds for name in kind.model_fields)


def strangers(environment: Mapping[str, str] = os.environ) -> Iterator[str]:
    """A sentence for each name in the settings file and the environment that nobody knows.

    Raises:
        tomllib.TOMLDecodeError, OSError: The file cannot be read.
    """
    known = known_names()
    file = settings_file()
    if file.is_file():
        for name in tomllib.loads(file.read_text()):
            if name not in known:
                yield _sentence(f"{file}: {name}", name, known)
    variables = {PREFIX + name.upper() for name in known}
    for name, value in environment.items():
        if not name.startswith(PREFIX) or name in variables or name in OTHER_VARIABLES:
            continue
        if not (_SERVICE_LINK.fullmatch(name) and (value.startswith("tcp://") or "_SERVICE_" in name)):
            yield _sentence(name, name, variables)


def _sentence(shown: str, name: str, known: Iterable[str]) -> str:
    near = nearest(name, known)
    return f"{shown} is no setting" + (f"; did you mean {near}?" if near else "")
