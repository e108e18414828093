"""The files in deploy/, read for what they name."""

import re
import subprocess
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from tests.patience import PATIENCE_S

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"
KUBERNETES = DEPLOY / "kubernetes"
SERVICES = ("registry", "gateway", "worker")

EVERYTHING = """
apiVersion: kustomize.config.k8s.io/v1beta1
kind: Kustomization
resources: [../three-registries]
components:
  - ../../components/gpu
  - ../../components/tls
  - ../../components/autoscaling
  - ../../components/monitoring
"""
"""An overlay with every component."""


def texts() -> Iterator[tuple[Path, str]]:
    """Every file there, and the page about them, with its text."""
    for path in (ROOT / "docs/deploying.md", *sorted(DEPLOY.rglob("*"))):
        if path.is_file():
            yield path, path.read_text()


def documents(path: Path) -> list[dict[str, Any]]:
    """The documents of a YAML file."""
    return [found for found in yaml.safe_load_all(path.read_text()) if found]


@cache
def built(overlay: Path) -> list[dict[str, Any]]:
    """What kustomize makes of an overlay."""
    done = subprocess.run(
        ["kubectl", "kustomize", str(overlay)],
        capture_output=True,
        text=True,
        check=False,
        timeout=PATIENCE_S,
    )
    assert done.returncode == 0, done.stderr
    assert "deprecated" not in done.stderr, done.stderr
    return [found for found in yaml.safe_load_all(done.stdout) if found]


def pods(objects: list[dict[str, Any]]) -> Iterator[tuple[str, dict[str, Any]]]:
    """The pod templates in Kubernetes' objects, with the name of each; those of a RayCluster too."""
    for one in objects:
        spec, name = one.get("spec", {}), one["metadata"]["name"]
        if one["kind"] == "RayCluster":
            yield f"{name}-head", spec["headGroupSpec"]["template"]
            yield from (
                (f"{name}-{group['groupName']}", group["template"]) for group in spec["workerGroupSpecs"]
            )
        elif "template" in spec:
            yield name, spec["template"]


def settings_of(objects: list[dict[str, Any]], container: dict[str, Any]) -> dict[str, str | None]:
    """The environment that a container gets; None: from a secret or a field."""
    maps = {one["metadata"]["name"]: one["data"] for one in objects if one["kind"] == "ConfigMap"}
    found: dict[str, str | None] = {}
    for source in container.get("envFrom", []):
        found |= maps[source["configMapRef"]["name"]]
    return found | {each["name"]: each.get("value") for each in container.get("env", [])}


def variables(text: str) -> set[str]:
    """The names of our settings in a text, as the environment has them."""
    return set(re.findall(r"\bINFERLOOM_[A-Z0-9_]+\b", text))


def logical_lines(text: str) -> Iterator[str]:
    """The lines of a text, those that end in a backslash joined with the next."""
    yield from re.sub(r"\\\n\s*#?\s*", " ", text).splitlines()
