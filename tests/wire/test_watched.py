"""Files that are replaced while a service runs."""

import logging
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from inferloom_mesh.authority import Authority, authority_in
from inferloom_mesh.identity import PeerIdentity
from inferloom_mesh.roles import Role
from inferloom_mesh.tls_files import TlsFiles, authorities_in, shown_files
from inferloom_mesh.tls_reading import TlsError
from inferloom_mesh.watched import LOOK_S, Watched
from tests.logged import own_records
from tests.wire.certificates import Certificates, certificates

__all__ = ["certificates"]


class Clock:
    """Seconds that pass when told to."""

    def __init__(self) -> None:
        self.at = 0.0

    def __call__(self) -> float:
        return self.at

    def look(self) -> None:
        """It is time to look again."""
        self.at += LOOK_S


@pytest.fixture
def clock() -> Clock:
    return Clock()


def test_what_is_replaced_is_used_and_what_is_bad_is_not(
    tmp_path: Path, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    """Within a second, whether or not it is there at first; what is wrong is said once, and again only when
    it was good meanwhile or is another fault."""
    file = tmp_path / "it"
    file.write_text("one")

    def read() -> str:
        text = file.read_text()
        if text.startswith("bad"):
            raise OSError(f"{file}: it is {text}")
        return text

    kept = Watched((file,), read, "the text", clock)
    file.write_text("two")
    assert (kept.current(), kept.generation()) == ("one", 0)
    clock.look()
    assert (kept.current(), kept.generation()) == ("two", 1)
    caplog.clear()
    for text, fault in (
        ("bad", "it is bad"),
        ("bad", None),
        (None, "No such file"),
        (None, None),
        ("bad", "it is bad"),
        ("two", None),
        ("bad", "it is bad"),
    ):
        file.unlink(missing_ok=True)
        if text is not None:
            file.write_text(text)
        clock.look()
        assert kept.current() == "two"
        said = [record.getMessage() for record in own_records(caplog) if record.levelno == logging.WARNING]
        assert [fault in each for each in said if fault] == ([True] if fault else [])
        assert bool(said) is bool(fault), said
        caplog.clear()
    assert kept.generation() == 1


def test_a_file_that_could_not_be_read_is_tried_again(
    tmp_path: Path, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    """Although nothing about it changes: its group may be set after it has come, which its time does not
    tell."""
    file = tmp_path / "it"
    file.write_text("one")
    closed = False

    def read() -> str:
        if closed:
            raise OSError(f"{file}: cannot be read: Permission denied")
        return file.read_text()

    kept = Watched((file,), read, "the text", clock)
    file.write_text("another")
    closed = True
    for _ in range(3):
        clock.look()
        assert kept.current() == "one"
    assert len(own_records(caplog)) == 1
    closed = False
    clock.look()
    assert kept.current() == "another"


def test_a_certificate_that_begins_in_a_moment_is_used_then(certificates: Certificates, clock: Clock) -> None:
    """Clocks differ, and not every authority gives certificates that began earlier."""
    folder = certificates.of("worker", "w1")
    now = begins = datetime.now(UTC)
    files = TlsFiles(folder, Role.WORKER, clock, lambda: now)
    first = files.current().certificate
    certificates.renew(folder, "worker", "w1")
    now = begins - timedelta(minutes=6)
    clock.look()
    assert files.current().certificate == first
    now = begins
    clock.look()
    assert files.current().certificate == (folder / "tls.crt").read_bytes() != first


def test_files_that_come_one_by_one_are_used_once_all_are_there(
    certificates: Certificates, clock: Clock
) -> None:
    """A certificate without its key is not, nor one of another role."""
    folder = certificates.of("gateway", "g1")
    files = TlsFiles(folder, Role.GATEWAY, clock)
    before = files.current()
    new = certificates.of("gateway", "g2")
    for name in ("tls.crt", "tls.key"):
        clock.look()
        assert files.current() is before
        (folder / name).write_bytes((new / name).read_bytes())
    clock.look()
    assert str(files.current().identity) == "gateway/g2"
    certificates.renew(folder, "worker", "g3")
    clock.look()
    assert str(files.current().identity) == "gateway/g2"


def test_a_part_takes_another_certificate_only_if_it_could_use_it(
    certificates: Certificates, tmp_path: Path
) -> None:
    """What cannot be used, and authorities of which it knows none, leave its files as they were."""
    folder = certificates.of("worker", "w2")
    files = TlsFiles(folder, Role.WORKER)
    held = files.current()
    other = Certificates(tmp_path / "other")
    mine = certificates.authority
    stranger = (other.of("worker", "w2") / "tls.crt").read_bytes()
    for certificate, authorities, words in (
        (b"nothing", mine.pem, "no certificate in PEM"),
        (stranger, mine.pem, "the key is not that of the certificate"),
        (held.certificate, other.authority.pem, "from none of the authorities"),
    ):
        with pytest.raises(TlsError, match=words):
            files.replace(certificate, authorities)
    from cryptography.x509 import load_pem_x509_certificate

    key = load_pem_x509_certificate(held.certificate).public_key()
    identity = PeerIdentity(Role.WORKER, "w2")
    theirs = other.authority.sign(identity, key)  # type: ignore[arg-type] # of P-256
    with pytest.raises(TlsError, match="has none of the authorities that came with it"):
        files.replace(theirs, other.authority.pem)
    assert files.current() is held
    files.replace(theirs, other.authority.pem + mine.pem)
    assert files.current().certificate == (folder / "tls.crt").read_bytes() == theirs
    assert {file.stat().st_mode & 0o777 for file in folder.iterdir()} == {0o600}


def test_an_authority_and_those_of_callers_are_followed(tmp_path: Path) -> None:
    """An authority's key and certificate are used together or not at all."""
    Authority.make(tmp_path / "one", "one")
    Authority.make(tmp_path / "two", "two")
    signs, callers = authority_in(tmp_path / "one"), authorities_in(tmp_path / "one/ca.crt")
    shown = shown_files(tmp_path / "one/ca.crt", tmp_path / "one/ca.crt", tmp_path / "one/ca.key")
    first = signs.current()
    for name in ("ca.crt", "ca.key"):
        assert signs.current() is first
        (tmp_path / "one" / name).write_bytes((tmp_path / "two" / name).read_bytes())
        signs.look()
    callers.look()
    shown.look()
    two = (tmp_path / "two/ca.crt").read_bytes()
    assert signs.current().pem == callers.current() == shown.current().authorities == two
    assert shown.current().key == (tmp_path / "two/ca.key").read_bytes()


@pytest.mark.parametrize("content", ["", "nothing"])
def test_a_file_of_callers_authorities_that_holds_none_is_refused(tmp_path: Path, content: str) -> None:
    """When the gateway starts; nobody could come in."""
    (tmp_path / "clients.crt").write_text(content)
    with pytest.raises(TlsError, match=r"clients.crt: holds no certificate in PEM"):
        authorities_in(tmp_path / "clients.crt")
    with pytest.raises(TlsError, match=r"none: there is no such file"):
        authorities_in(tmp_path / "none")
