"""What `inferloom up` refuses before it starts anything, and what it shows its own gateway."""

import os
from pathlib import Path
from typing import Any

import pytest

from inferloom_cli.own_caller import own_caller
from inferloom_cli.planning import prepare
from inferloom_cli.refusal import MISUSED, RefusedError
from inferloom_cli.up_flags import UpFlags
from inferloom_gateway.settings import GatewaySettings
from inferloom_mesh import watched
from inferloom_mesh.secret import MeshSecret
from tests.wire.certificates import Certificates, certificates

__all__ = ["certificates"]


@pytest.fixture(autouse=True)
def bare(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A working folder with no settings file, and an environment with no settings."""
    monkeypatch.chdir(tmp_path)
    for name in [name for name in os.environ if name.startswith("INFERLOOM_")]:
        monkeypatch.delenv(name)


def test_up_does_not_let_other_gateways_ask_beyond_this_machine_without_tls(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It would tell the network of all tenants' requests: `inferloom gateway` refuses the same."""
    monkeypatch.setenv("INFERLOOM_GATEWAY_PEER_LISTEN", "0.0.0.0:9200")
    flags: dict[str, Any] = {"port": 0, "grpc_port": 0, "registry_port": 0, "worker_port": 0}
    with pytest.raises(RefusedError, match=r"0\.0\.0\.0:9200 .*--tls .*--insecure") as caught:
        prepare(UpFlags(models=("echo=echo",), **flags))
    assert caught.value.status == MISUSED
    plan, _ = prepare(UpFlags(models=("echo=echo",), insecure=True, **flags))
    assert plan.caller is None


def test_up_shows_its_gateway_a_certificate_that_it_takes(certificates: Certificates, tmp_path: Path) -> None:
    """An operator's, or the gateway's own; none where none is asked for. Where it takes none, that is said
    before it is started: it would never become ready."""
    certs, others = tmp_path / "mesh", Certificates(tmp_path / "others")
    certs.mkdir()
    (certs / "gateway").symlink_to(certificates.of("gateway"))

    def shown(asked: Path | None, **settings: Any) -> Path | None:
        return own_caller(GatewaySettings(gateway_client_ca=asked, **settings), certs)

    tls = {"tls": certs / "gateway"}
    assert shown(None, **tls) is None
    assert shown(certificates.ca) is None  # its doors do no TLS
    assert shown(certificates.ca, **tls) == certs / "gateway"
    (certs / "operator").symlink_to(certificates.of("operator"))
    assert shown(certificates.ca, **tls) == certs / "operator"
    with pytest.raises(
        RefusedError, match=r"others/ca.crt signed no certificate that is here.*add"
    ) as caught:
        shown(others.ca, **tls)
    assert caught.value.status == MISUSED
    both = tmp_path / "both.crt"
    both.write_bytes(others.ca.read_bytes() + certificates.ca.read_bytes())
    assert shown(both, **tls) == certs / "operator"
    door = others.of("gateway")
    assert shown(others.ca, gateway_tls=door, **tls) == door
    with pytest.raises(RefusedError, match=r"none.crt: there is no such file"):
        shown(tmp_path / "none.crt", **tls)


@pytest.mark.parametrize(
    ("first", "named"), [({"worker_port": 65535}, "--worker-port"), ({}, "worker_metrics_listen")]
)
def test_ports_end(monkeypatch: pytest.MonkeyPatch, first: dict[str, int], named: str) -> None:
    """Workers' ports follow each other, and there are no more than there are."""
    if not first:
        monkeypatch.setenv("INFERLOOM_WORKER_METRICS_LISTEN", "127.0.0.1:65535")
    flags: dict[str, Any] = {"port": 0, "grpc_port": 0, "registry_port": 0, "worker_port": 0, **first}
    with pytest.raises(RefusedError, match=f"end at 65535: lower {named}") as caught:
        prepare(UpFlags(models=("echo=echo",), workers=2, **flags))
    assert caught.value.status == MISUSED


def test_up_shows_its_gateway_the_secret_of_the_moment(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Models may take minutes to load, in which it is replaced."""
    monkeypatch.setattr(watched, "LOOK_S", 0.0)
    file, after = tmp_path / "secret", "the secret that comes next"
    file.write_text("a secret of this mesh")
    monkeypatch.setenv("INFERLOOM_MESH_SECRET_FILE", str(file))
    flags: dict[str, Any] = {"port": 0, "grpc_port": 0, "registry_port": 0, "worker_port": 0}
    plan, _ = prepare(UpFlags(models=("echo=echo",), **flags))
    file.write_text(after)
    assert plan.secret is not None
    assert plan.secret.metadata == MeshSecret(after).metadata
