"""Certificates for tests, made by a small authority of their own."""

from datetime import timedelta
from pathlib import Path

import pytest

from inferloom_mesh.authority import Authority
from inferloom_mesh.identity import PeerIdentity
from inferloom_mesh.roles import Role
from inferloom_mesh.security import Security
from inferloom_mesh.tls_files import TlsFiles

LOCAL = ("localhost", "127.0.0.1", "::1")


class Certificates:
    """An authority, and the folders of those that it knows."""

    def __init__(self, folder: Path) -> None:
        self.authority = Authority.make(folder, "tests")
        self.folder = folder

    @property
    def ca(self) -> Path:
        """The authority's certificate."""
        return self.folder / "ca.crt"

    def of(
        self,
        role: str,
        name: str = "",
        life: timedelta = timedelta(days=1),
        *,
        hosts: tuple[str, ...] = LOCAL,
    ) -> Path:
        """The folder of one that has this role."""
        identity = PeerIdentity(Role(role), name or role)
        made = self.folder / f"{role}-{identity.name}"
        if not made.exists():
            self.authority.issue(made, identity, hosts, life)
        return made

    def renew(self, folder: Path, role: str, name: str = "", **how: timedelta) -> None:
        """Replace what is in a folder."""
        for file in folder.iterdir():
            file.unlink()
        self.authority.issue(folder, PeerIdentity(Role(role), name or role), LOCAL, **how)

    def security(self, role: str, name: str = "") -> Security:
        """What one of this role shows and asks of its peers."""
        return Security(tls=TlsFiles(self.of(role, name), Role(role)))


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    """An authority for the tests of a module."""
    return Certificates(tmp_path_factory.mktemp("mesh"))
