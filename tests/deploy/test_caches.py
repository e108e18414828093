"""Models that are fetched, and what is compiled, have a place that may be written, wherever a worker is."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import PurePosixPath
from typing import Any

import pytest
import yaml

from tests.deploy.written import DEPLOY, KUBERNETES, documents, pods
from tests.patience import PATIENCE_S

FOR_OTHERS = ("/tmp", "/dev/shm", "/etc/inferloom", "/models")  # where volumes are mounted
"""Writable, and for small things or for what others put there."""
IMAGE = dict(
    re.findall(r"([A-Z_]+)=(\S+)", (DEPLOY / "docker/worker.Dockerfile").read_text().rpartition("\nENV ")[2])
)


def unit() -> tuple[dict[str, str], list[str]]:
    """The environment of systemd's unit, and the folders that it gives the service."""
    text = (DEPLOY / "systemd/inferloom-worker@.service").read_text()
    assert "ProtectSystem=strict" in text
    given = re.findall(r"^Environment=([A-Z_]+)=(.*)$", text, re.M)
    folders = re.findall(r"^(Cache|State)Directory=(.*)$", text, re.M)
    roots = {"Cache": "/var/cache", "State": "/var/lib"}
    return dict(given), [f"{roots[kind]}/{name}" for kind, name in folders]


def compose(*names: str) -> tuple[dict[str, str], list[str]]:
    """The same of a service of Compose."""
    given, folders = dict(IMAGE), list[str]()
    for name in names:
        worker = yaml.safe_load((DEPLOY / name).read_text())["services"]["worker"]
        given |= worker.get("environment", {})
        folders += [volume.split(":")[1] for volume in worker.get("volumes", ())]
    return given, folders


def containers() -> Iterator[tuple[str, dict[str, str], list[str]]]:
    """The same of the pods that are workers, or compute for one."""
    files = (KUBERNETES / "base/worker.yaml", DEPLOY / "ray/raycluster.yaml")
    for name, pod in pods([each for file in files for each in documents(file)]):
        for container in pod["spec"]["containers"]:
            said = {each["name"]: each["value"] for each in container.get("env", ()) if "value" in each}
            mounts = [each["mountPath"] for each in container["volumeMounts"] if not each.get("readOnly")]
            assert container["securityContext"]["readOnlyRootFilesystem"]
            yield name, IMAGE | said, mounts


def deployed() -> Iterator[Any]:
    """All of them."""
    yield pytest.param(*unit(), id="systemd")
    yield pytest.param(*compose("compose.yaml"), id="compose")
    yield pytest.param(*compose("compose.yaml", "compose.gpu.yaml"), id="compose-gpu")
    for name, given, folders in containers():
        yield pytest.param(given, folders, id=name)


def hub_cache(given: Mapping[str, str]) -> str:
    """Where the hub's own client keeps models in that environment, by its own word."""
    ask = "from huggingface_hub import constants; print(constants.HF_HUB_CACHE, constants.HF_XET_CACHE)"
    ours = {name: value for name, value in os.environ.items() if name in ("PYTHONPATH", "LANG")}
    done = subprocess.run(
        [sys.executable, "-c", ask],
        env={**ours, "HOME": "/nobody", **given, "PATH": os.environ["PATH"]},
        capture_output=True,
        text=True,
        check=True,
        timeout=PATIENCE_S,
    )
    return done.stdout


@pytest.mark.parametrize(("given", "folders"), [*deployed()])
def test_a_worker_may_write_what_it_fetches_and_compiles(given: dict[str, str], folders: list[str]) -> None:
    """In a folder that is meant for it, and not in one of a few megabytes or of the user's."""
    meant = [PurePosixPath(folder) for folder in folders if folder not in FOR_OTHERS]
    for place in (*hub_cache(given).split(), given["TRITON_CACHE_DIR"], given["XDG_CACHE_HOME"]):
        assert any(PurePosixPath(place).is_relative_to(folder) for folder in meant), (place, meant)
