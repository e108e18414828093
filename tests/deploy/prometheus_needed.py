"""Prometheus's own programs, of Debian's package ``prometheus``, and what is shipped for them."""

import os
import re
import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml

DEPLOY = Path(__file__).parents[2] / "deploy"
RULES = DEPLOY / "prometheus" / "alerts.yml"
CONFIG = DEPLOY / "prometheus" / "prometheus.yml"
DASHBOARD = DEPLOY / "grafana" / "inferloom.json"

needs_prometheus = pytest.mark.skipif(
    shutil.which("prometheus") is None and not os.environ.get("CI"), reason="prometheus is not installed"
)
"""Skips where it is not installed; where CI is set, such tests fail instead."""

_COMPARED = re.compile(r"(?P<measured>.+) (?:==|>|<) [\d.]+", re.DOTALL)


def alerts() -> dict[str, dict[str, Any]]:
    """The alerts by their names."""
    (group,) = yaml.safe_load(RULES.read_text())["groups"]
    return {rule["alert"]: rule for rule in group["rules"]}


def measured(alert: dict[str, Any]) -> str:
    """What an alert compares with its threshold."""
    found = _COMPARED.fullmatch(alert["expr"])
    assert found is not None, f"{alert['alert']} compares nothing with a number at its end"
    return found["measured"]
