"""Until when certificates are good, as each service tells Prometheus."""

import asyncio
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest

from inferloom_gateway.access.stores.redis_files import authorities_of, certificate_of
from inferloom_mesh import watched
from inferloom_mesh.authority import Authority
from inferloom_mesh.certificate_terms import CertificateTerms
from inferloom_mesh.metrics import Metrics, added, rendered
from inferloom_mesh.net import Address
from inferloom_mesh.roles import Role
from inferloom_mesh.security import Security
from inferloom_mesh.tls_files import TlsFiles, authorities_in
from inferloom_mesh.tls_reading import TlsError, longest_term, term_of
from inferloom_registry.service import serve
from inferloom_registry.settings import RegistrySettings
from tests.gateway.test_metrics import samples, value
from tests.patience import PATIENCE_S, until_async
from tests.registry.running import ANY_PORT, running_registry
from tests.wire.certificates import Certificates, certificates
from tests.wire.ports import free_port
from tests.wire.running_worker import running_worker
from tests.wire.test_tls import running_gateway

__all__ = ["certificates"]

ENDS = "inferloom_certificate_not_after_timestamp_seconds"
BEGINS = "inferloom_certificate_not_before_timestamp_seconds"


@pytest.fixture(autouse=True)
def _at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watched, "LOOK_S", 0.0)


def ends(file: Path) -> float:
    """When the certificate in a file does."""
    return term_of(file.read_bytes()).ends.timestamp()


async def told(port: int) -> dict[tuple[str, str], float]:
    """What a service tells, by use and kind, once it listens."""

    async def read() -> bytes:
        try:
            async with httpx.AsyncClient() as http:
                return (await http.get(f"http://127.0.0.1:{port}/metrics")).content
        except httpx.ConnectError:
            return b""

    text = await until_async(read, "the metrics")
    told = {labels: seconds for (name, labels), seconds in samples(text).items() if name == ENDS}
    return {(dict(labels)["use"], dict(labels)["kind"]): seconds for labels, seconds in told.items()}


def test_it_is_what_is_in_use(certificates: Certificates) -> None:
    """What replaces it, at the next scrape; what cannot be used changes nothing. Both ends are told."""
    metrics = Metrics()
    folder = certificates.of("worker", "told", timedelta(days=30))
    CertificateTerms(metrics).mesh(Security(tls=TlsFiles(folder, Role.WORKER)))

    def seen(name: str = ENDS, kind: str = "certificate") -> float | None:
        return value(rendered(metrics.snapshot())[0], name, use="mesh", kind=kind)

    first = ends(folder / "tls.crt")
    assert seen() == first == pytest.approx((datetime.now(UTC) + timedelta(days=30)).timestamp(), abs=60)
    assert seen(BEGINS) == pytest.approx(datetime.now(UTC).timestamp(), abs=400)
    assert seen(kind="authority") == ends(certificates.ca)
    certificates.renew(folder, "worker", "told", life=timedelta(days=60))
    assert seen() == ends(folder / "tls.crt") == pytest.approx(first + 30 * 86_400, abs=60)
    certificates.renew(folder, "gateway", "told", life=timedelta(days=90))  # which is no worker's
    assert seen() == pytest.approx(first + 30 * 86_400, abs=60)


def test_of_authorities_that_counts_which_ends_last(certificates: Certificates, tmp_path: Path) -> None:
    """While one takes another's place, the old one may end."""
    old = Authority.make(tmp_path / "old", "old", timedelta(days=1))
    file = tmp_path / "both.crt"
    file.write_bytes(old.pem + certificates.ca.read_bytes())
    metrics = Metrics()
    CertificateTerms(metrics).authorities("door", authorities_in(file).current)
    text, _ = rendered(metrics.snapshot())
    assert value(text, ENDS, use="door", kind="authority") == ends(certificates.ca)
    assert longest_term(file.read_bytes()).ends > term_of(file.read_bytes()).ends


def test_of_several_processes_the_nearest_end_counts(certificates: Certificates) -> None:
    """One of them may not have taken up what was replaced."""
    files = [certificates.of("gateway", f"of-{days}", timedelta(days=days)) / "tls.crt" for days in (9, 5)]
    snapshots = []
    for file in files:
        metrics = Metrics()
        CertificateTerms(metrics).certificate("door", file.read_bytes)
        snapshots.append(metrics.snapshot())
    text, _ = rendered(added(snapshots))
    assert value(text, ENDS, use="door", kind="certificate") == ends(files[1])


async def test_every_service_tells_of_its_own(
    certificates: Certificates, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What it shows its peers and knows them by, its callers, who joins, and the collector of traces."""
    ports = [free_port() for _ in range(3)]
    at = [Address("127.0.0.1", port) for port in ports]
    mine = certificates.of("registry")
    signs: dict[str, Any] = {"registry_ca": certificates.folder, "registry_metrics_listen": at[0]}
    async with running_registry(tls=mine, settle_s=0.1, **signs) as registry:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_CERTIFICATE", str(certificates.ca))
        traces = {"otlp_endpoint": "https://127.0.0.1:9"}
        worker, door = certificates.of("worker", "w1"), certificates.of("gateway", "door", timedelta(days=3))
        async with (
            running_worker(
                "echo=echo",
                registry=str(registry),
                tls=worker,
                worker_id="w1",
                worker_metrics_listen=at[1],
                **traces,
            ),
            running_gateway(
                registry=registry,
                tls=certificates.of("gateway"),
                gateway_tls=door,
                gateway_client_ca=certificates.ca,
                gateway_metrics_listen=at[2],
            ),
        ):
            authority = ends(certificates.ca)
            assert await told(ports[0]) == {
                ("mesh", "certificate"): ends(mine / "tls.crt"),
                ("mesh", "authority"): authority,
                ("joining", "certificate"): authority,
            }
            assert await told(ports[1]) == {
                ("mesh", "certificate"): ends(worker / "tls.crt"),
                ("mesh", "authority"): authority,
                ("traces", "authority"): authority,
            }
            assert await told(ports[2]) == {
                ("mesh", "certificate"): ends(certificates.of("gateway") / "tls.crt"),
                ("mesh", "authority"): authority,
                ("door", "certificate"): ends(door / "tls.crt"),
                ("door", "authority"): authority,
            }


async def test_a_registry_tells_of_what_etcd_is_shown(certificates: Certificates) -> None:
    """Before it answers, too."""
    mine, port, stop = certificates.of("registry"), free_port(), asyncio.Event()
    settings = RegistrySettings(
        registry_listen=ANY_PORT,
        registry_metrics_listen=Address("127.0.0.1", port),
        etcd=f"127.0.0.1:{free_port()}",
        etcd_ca_file=certificates.ca,
        etcd_certificate_file=mine / "tls.crt",
        etcd_key_file=mine / "tls.key",
    )
    serving = asyncio.create_task(serve(settings, stop, lambda _: None))
    try:
        assert await told(port) == {
            ("etcd", "certificate"): ends(mine / "tls.crt"),
            ("etcd", "authority"): ends(certificates.ca),
        }
    finally:
        stop.set()
        async with asyncio.timeout(PATIENCE_S):
            await serving


def test_the_files_that_a_redis_is_spoken_to_with(certificates: Certificates, tmp_path: Path) -> None:
    """Those that its URL names; what is no certificate is said with its file."""
    mine = certificates.of("gateway") / "tls.crt"
    url = f"rediss://:password@redis:6379/0?ssl_certfile={mine}&ssl_ca_certs={certificates.ca}"
    shown, known = certificate_of(url), authorities_of(url)
    assert shown is not None
    assert known is not None
    assert (shown.current(), known.current()) == (mine.read_bytes(), certificates.ca.read_bytes())
    for other in ("keys.db", "redis://redis:6379/0", "rediss://redis:6379/0"):
        assert (certificate_of(other), authorities_of(other)) == (None, None)
    with pytest.raises(TlsError, match=r"nothing\.crt: there is no such file"):
        certificate_of(f"rediss://redis?ssl_certfile={tmp_path / 'nothing.crt'}")
