"""Workers whose registry gave them their certificate have it renewed."""

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from inferloom_mesh import watched
from inferloom_mesh.identity import PeerIdentity
from inferloom_mesh.net import Address
from inferloom_mesh.roles import Role
from inferloom_mesh.security import Security
from inferloom_mesh.tls_files import TlsFiles
from inferloom_mesh.tls_reading import is_from
from inferloom_registry import joining
from inferloom_worker import service
from inferloom_worker.joining import renewal
from inferloom_worker.joining.renewal import keep_renewed
from tests.patience import until_async
from tests.wire.certificates import Certificates, certificates
from tests.wire.joinable import Joinable, joinable
from tests.wire.running_worker import running_worker

__all__ = ["certificates", "joinable"]


def soon() -> datetime:
    """A moment at which a certificate that is good for a minute is due."""
    return datetime.now(UTC) + timedelta(seconds=45)


@pytest.fixture
def renewals(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Whose certificates were asked for."""
    seen: list[str] = []
    original = joining.Joining.join

    def join(self: joining.Joining, token: str, request: bytes, peer: PeerIdentity | None) -> Any:
        if not token:
            seen.append(str(peer))
        return original(self, token, request, peer)

    monkeypatch.setattr(joining.Joining, "join", join)
    return seen


async def renewing(files: TlsFiles, registry: Address, until: Callable[[], bool], **how: Any) -> None:
    """Keep a certificate renewed until something has come to pass, and a while longer."""
    keeping = asyncio.create_task(keep_renewed(Security(tls=files), [registry], **how))
    await until_async(until, "a renewal")
    await asyncio.sleep(0.5)
    keeping.cancel()
    await asyncio.gather(keeping, return_exceptions=True)


async def test_a_certificate_is_renewed_when_it_is_due_and_no_earlier(
    joinable: Joinable, tmp_path: Path, renewals: list[str]
) -> None:
    """Also where it is given for no longer than it began before it was given; and once, though by a
    clock that is wrong every one is due."""
    folder = await joinable.joined(tmp_path / "w1")
    files = TlsFiles(folder, Role.WORKER)
    await renewing(files, joinable.registry, lambda: True)
    assert renewals == []
    before = files.current().certificate
    await renewing(files, joinable.registry, lambda: files.generation() > 0, now=soon)
    assert renewals == ["worker/w1"]
    assert files.current().certificate == (folder / "tls.crt").read_bytes() != before


async def test_a_certificate_that_cannot_be_used_is_asked_for_once_in_a_while(
    joinable: Joinable, renewals: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    """This machine's clock is ten minutes behind, and the next certificate has not begun yet: the files
    stay as they are, and the log says why."""
    folder = joinable.certificates.of("worker", "w2")
    behind = timedelta()
    files = TlsFiles(folder, Role.WORKER, now=lambda: datetime.now(UTC) - behind)
    behind = timedelta(minutes=10)
    before = (folder / "tls.crt").read_bytes()
    far = timedelta(days=1)
    await renewing(
        files,
        joinable.registry,
        lambda: "was not renewed" in caplog.text,
        now=lambda: datetime.now(UTC) + far,
    )
    assert renewals == ["worker/w2"]
    assert "is not valid before" in caplog.text
    assert (folder / "tls.crt").read_bytes() == before


@pytest.mark.parametrize(("left_s", "about"), [(-1, 60), (20, 5), (1, 5), (400, 60)])
def test_a_renewal_that_failed_is_tried_again_in_time(left_s: float, about: float) -> None:
    """Several times before the certificate is over, and never at once."""
    for _ in range(20):
        assert about / 2 <= renewal._retry_s(left_s) <= about * 1.5


async def test_a_worker_that_joined_renews_without_its_token(
    joinable: Joinable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The token was good once, so nobody keeps it; a certificate that others put there is theirs."""
    kept: list[str] = []

    async def keep(security: Security, registries: list[Address]) -> None:
        assert security.tls is not None
        kept.append(security.tls.folder.name)

    monkeypatch.setattr(service, "keep_renewed", keep)
    for folder in (await joinable.joined(tmp_path / "w3"), joinable.certificates.of("worker", "w4")):
        name = folder.name.removeprefix("worker-")
        settings = {"registry": str(joinable.registry), "tls": folder, "worker_id": name}
        async with running_worker("echo=echo", **settings):
            pass
    assert kept == ["w3"]


async def test_workers_that_joined_follow_their_registry_to_another_authority(
    joinable: Joinable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both are known for a while, and no service is started again."""
    monkeypatch.setattr(watched, "LOOK_S", 0.0)
    files = TlsFiles(await joinable.joined(tmp_path / "w5"), Role.WORKER)
    signs, first = joinable.certificates.folder, joinable.certificates.authority
    second = Certificates(tmp_path / "second")
    key = (signs / "ca.key").read_bytes()

    async def follow(authorities: bytes) -> bytes:
        (signs / "ca.crt").write_bytes(authorities)
        before = files.generation()
        await renewing(files, joinable.registry, lambda: files.generation() > before, now=soon)
        assert files.current().authorities == authorities
        return files.current().certificate

    try:
        await follow(first.pem + second.authority.pem)
        (signs / "ca.key").write_bytes((second.folder / "ca.key").read_bytes())
        assert is_from(await follow(second.authority.pem + first.pem), second.authority.pem)
    finally:
        (signs / "ca.crt").write_bytes(first.pem)
        (signs / "ca.key").write_bytes(key)
