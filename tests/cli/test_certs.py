"""``inferloom certs`` as whoever operates a mesh types it."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography.x509 import Certificate, SubjectAlternativeName, load_pem_x509_certificate

from inferloom_cli import certs
from inferloom_cli.refusal import RefusedError
from inferloom_mesh import authority
from inferloom_mesh.authority import Authority
from inferloom_mesh.identity import PeerIdentity
from inferloom_mesh.roles import Role
from inferloom_mesh.tls_files import TlsFiles


def held(folder: Path) -> Certificate:
    """The certificate in a folder."""
    return load_pem_x509_certificate((folder / "tls.crt").read_bytes())


def names(certificate: Certificate) -> list[object]:
    """Who and where its holder is."""
    return list(certificate.extensions.get_extension_for_class(SubjectAlternativeName).value)


@pytest.fixture
def mesh(tmp_path: Path) -> Path:
    """An authority that ends in thirty days."""
    certs.init(tmp_path, "tests", 30)
    return tmp_path


def test_a_certificate_is_told_by_its_end(mesh: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Which is its authority's, where that comes first."""
    certs.issue(mesh, "gateway", None, ["ai.example.com"], 365)
    said = capsys.readouterr().out
    assert "365" not in said
    assert f"until {datetime.now(UTC) + timedelta(days=30):%Y-%m-%d}" in said


def test_one_that_ends_is_renewed_in_its_place(
    mesh: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """For the same holder and hosts, of the same key, and also when it is over."""
    monkeypatch.setattr(authority, "EARLIER", timedelta(days=2))
    folder, identity = mesh / "gateway", PeerIdentity(Role.GATEWAY, "gateway")
    Authority(mesh).issue(folder, identity, ("ai.example.com", "fd00::7"), timedelta(days=-1))
    before, key = held(folder), (folder / "tls.key").read_bytes()

    certs.renew(mesh, "gateway", 10)
    assert f"until {datetime.now(UTC) + timedelta(days=10):%Y-%m-%d}" in capsys.readouterr().out
    assert TlsFiles(folder, Role.GATEWAY).current().ends == held(folder).not_valid_after_utc
    assert names(held(folder)) == names(before)
    assert held(folder).serial_number != before.serial_number
    assert (folder / "tls.key").read_bytes() == key
    assert (folder / "tls.crt").stat().st_mode & 0o777 == 0o600
    assert {file.name for file in folder.iterdir()} == {"tls.key", "tls.crt", "ca.crt"}


def test_what_cannot_be_renewed_is_told(mesh: Path, tmp_path: Path) -> None:
    """There is none of that name, or its holder knows another authority; what is there stays."""
    with pytest.raises(RefusedError, match=r"w1/tls\.crt: there is no such file"):
        certs.renew(mesh, "w1", 10)
    certs.issue(mesh, "worker", "w1", (), 10)
    certs.init(tmp_path / "other", "tests", 30)
    (mesh / "w1").rename(tmp_path / "other" / "w1")
    before = held(tmp_path / "other" / "w1")
    with pytest.raises(RefusedError, match="from none of the authorities in"):
        certs.renew(tmp_path / "other", "w1", 10)
    assert held(tmp_path / "other" / "w1") == before


def test_an_authority_that_is_over_signs_nothing(mesh: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It says when it ended."""

    class Later(datetime):
        @classmethod
        def now(cls, tz: object = None) -> datetime:  # type: ignore[override] # of one zone
            return datetime.now(UTC) + timedelta(days=31)

    monkeypatch.setattr(authority, "datetime", Later)
    with pytest.raises(RefusedError, match="the authority ended at"):
        certs.issue(mesh, "worker", "w1", (), 10)
