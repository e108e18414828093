"""Every file in deploy/ is held to its own validator."""

import json
import re
import shutil
from functools import cache
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest

from tests.deploy.tools import passes, tool
from tests.deploy.written import DEPLOY, EVERYTHING, KUBERNETES, SERVICES, built, documents, pods
from tests.wire.certificates import Certificates

OLDEST = "1.33"
"""The oldest Kubernetes that the files are for."""
MONITOR = {"selector", "endpoints"}, {"port", "path", "interval"}
"""What a ServiceMonitor has here, and each of its endpoints: there is no small package with its type."""


@pytest.mark.parametrize("service", SERVICES)
def test_dockerfiles(service: str) -> None:
    """hadolint has nothing to say, but for what the file itself explains."""
    passes(tool("hadolint"), "--failure-threshold", "style", str(DEPLOY / f"docker/{service}.Dockerfile"))


@pytest.mark.parametrize("more", ["", "compose.gpu.yaml", "compose.keys.yaml"])
def test_compose(more: str, tmp_path: Path) -> None:
    """Compose reads it, and each with what goes on top."""
    compose = tool("docker-compose")
    shutil.copytree(DEPLOY, tmp_path / "deploy")
    (tmp_path / "deploy/mesh-secret").write_text("0123456789abcdef")
    files = [
        part for name in ("compose.yaml", more) if name for part in ("-f", str(tmp_path / "deploy" / name))
    ]
    passes(compose, *files, "--profile", "observe", "config", "--quiet")


@pytest.fixture(scope="session")
def everything(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An overlay with every component."""
    folder = tmp_path_factory.mktemp("kustomize") / "kubernetes"
    shutil.copytree(KUBERNETES, folder)
    overlay = folder / "overlays/everything"
    overlay.mkdir()
    (overlay / "kustomization.yaml").write_text(EVERYTHING)
    return overlay


@pytest.mark.parametrize("overlay", ["one-registry", "three-registries", "tls", "everything"])
def test_kubernetes(overlay: str, everything: Path) -> None:
    """kustomize builds it, and what it makes has no field that Kubernetes or an operator does not know."""
    tool("kubectl")
    objects = built(everything if overlay == "everything" else KUBERNETES / "overlays" / overlay)
    assert len(objects) > 12
    for one in objects:
        _check(one)
    assert len({(one["kind"], one["metadata"]["name"]) for one in objects}) == len(objects)
    assert {one["metadata"].get("namespace", "inferloom") for one in objects} == {"inferloom"}


def test_ray() -> None:
    """The pods of the RayCluster are checked in full; its own fields by a list, as no package has types."""
    cluster, policy = documents(DEPLOY / "ray/raycluster.yaml")
    _check(policy)
    assert (cluster["apiVersion"], cluster["kind"]) == ("ray.io/v1", "RayCluster")
    assert set(cluster["spec"]) == {"rayVersion", "headGroupSpec", "workerGroupSpecs"}
    assert set(cluster["spec"]["headGroupSpec"]) == {"rayStartParams", "template"}
    for group in cluster["spec"]["workerGroupSpecs"]:
        assert set(group) == {
            "groupName",
            "replicas",
            "minReplicas",
            "maxReplicas",
            "rayStartParams",
            "template",
        }
    for name, template in pods([cluster]):
        _check(
            {"apiVersion": "v1", "kind": "Pod", **template, "metadata": {"name": name} | template["metadata"]}
        )


@pytest.mark.parametrize("script", ["head.sh", "node.sh"])
def test_scripts(script: str) -> None:
    """The shell can read them."""
    passes(tool("bash"), "-n", str(DEPLOY / "ray" / script))


def _check(one: dict[str, Any]) -> None:
    _check_text(json.dumps(one))


@cache
def _check_text(text: str) -> None:
    one = json.loads(text)
    kind = _brought().get((one["apiVersion"], one["kind"]))
    if one["kind"] == "ServiceMonitor":
        assert set(one["spec"]) == MONITOR[0]
        assert all(set(endpoint) == MONITOR[1] for endpoint in one["spec"]["endpoints"])
    elif kind is None:
        kubernetes_validate.validate(one, OLDEST, strict=True)
    else:
        read = kind.model_validate(one).model_dump(mode="json", by_alias=True, exclude_unset=True)
        _same(one["spec"], read["spec"], one["metadata"]["name"])


@cache
def _brought() -> dict[tuple[str, str], Any]:
    """Kinds that operators bring. Their types take seconds to import."""
    from cloudcoil.models.cert_manager.v1 import Certificate, Issuer
    from cloudcoil.models.keda.v1alpha1 import ScaledObject

    return {
        ("cert-manager.io/v1", "Certificate"): Certificate,
        ("cert-manager.io/v1", "Issuer"): Issuer,
        ("keda.sh/v1alpha1", "ScaledObject"): ScaledObject,
    }


def _same(given: Any, read: Any, where: str) -> None:
    """Nothing that was given was left out, as these types do with what they do not know."""
    if isinstance(given, dict):
        assert isinstance(read, dict), where
        assert not (given.keys() - read.keys()), where
        for name, value in given.items():
            _same(value, read[name], f"{where}.{name}")
    elif isinstance(given, list):
        for place, (a, b) in enumerate(zip(given, read, strict=True)):
            _same(a, b, f"{where}[{place}]")


def test_systemd(tmp_path: Path) -> None:
    """systemd finds nothing wrong, drop-ins included, and little that a unit could do to its machine."""
    analyze = tool("systemd-analyze")
    for unit in (DEPLOY / "systemd").glob("*.service"):
        text = unit.read_text().replace("/opt/inferloom/bin/inferloom", shutil.which("true") or "true")
        (tmp_path / unit.name).write_text(text)
        shutil.copytree(unit.with_name(f"{unit.name}.d"), tmp_path / f"{unit.name}.d")
    names = {name: unit for unit in tmp_path.glob("*.service") for name in (unit.name.replace("@.", "@w1."),)}
    assert len(names) == len(SERVICES)
    for name, unit in names.items():
        said = passes(analyze, "verify", "--man=no", str(tmp_path / name))
        assert unit.stem.removesuffix("@") not in said, said
        exposure = passes(analyze, "security", "--offline=true", "--threshold=25", str(tmp_path / name))
        assert "Overall exposure level" in exposure


def test_nginx(tmp_path: Path) -> None:
    """`nginx -t` takes it as it is, but for where certificates are."""
    nginx = tool("nginx", "/usr/sbin")
    door = _door(tmp_path)
    written = (DEPLOY / "proxy/nginx.conf").read_text()
    (tmp_path / "nginx.conf").write_text(written.replace("/etc/nginx/tls", str(door)))
    said = passes(
        nginx,
        "-t",
        "-p",
        str(tmp_path),
        "-c",
        str(tmp_path / "nginx.conf"),
        "-g",
        f"pid {tmp_path}/pid; error_log stderr;",
    )
    assert "[warn]" not in said, said


def test_envoy(tmp_path: Path) -> None:
    """Envoy itself takes it as it is, but for where certificates are."""
    envoy = tool("envoy")
    written = (DEPLOY / "proxy/envoy.yaml").read_text()
    (tmp_path / "envoy.yaml").write_text(written.replace("/etc/envoy/tls", str(_door(tmp_path))))
    said = passes(envoy, "--mode", "validate", "-c", str(tmp_path / "envoy.yaml"))
    assert "OK" in said
    assert not re.search(r"\[(warning|error|critical)\]", said), said


def _door(folder: Path) -> Path:
    made = Certificates(folder / "authority").of("gateway")
    (made / "tls.crt").rename(made / "fullchain.pem")
    (made / "tls.key").rename(made / "privkey.pem")
    return made
