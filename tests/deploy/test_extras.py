"""What a machine does not need is not asked for: each extra is enough for its own service."""

import re
import sys
import tomllib

import pytest

from tests.deploy.tools import passes
from tests.deploy.written import ROOT, SERVICES

ALONE = """
import sys

service, *absent = sys.argv[1:]
sys.modules |= dict.fromkeys(absent)  # importing them raises ModuleNotFoundError
import inferloom_cli.services
from inferloom_cli.known_settings import known_names

assert "registry_listen" in known_names()
__import__(f"inferloom_{service}.service")
"""


@pytest.mark.parametrize("service", SERVICES)
def test_an_extra_is_enough_for_its_service(service: str) -> None:
    """What only other extras bring is hidden; the command line still knows all settings, and the service is
    imported."""
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    brought = {name: {_module(each) for each in needs} for name, needs in extras.items()}
    own = brought["mesh"] | brought[service]
    others = set().union(*(brought[name] for name in ("gateway", "worker", "torch", "redis")))
    absent = sorted(others - own - {"inferloom"})
    assert "safetensors" in absent or service == "worker"
    passes(sys.executable, "-c", ALONE, service, *absent)


def _module(requirement: str) -> str:
    name = re.match(r"[\w-]+", requirement)
    assert name is not None
    return name[0].replace("-", "_")
