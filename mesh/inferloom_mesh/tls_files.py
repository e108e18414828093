"""Certificates, keys and authorities in files, used as they are when something begins."""

import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

from inferloom_mesh.private_files import replace
from inferloom_mesh.roles import Role
from inferloom_mesh.tls_reading import (
    AUTHORITIES,
    CERTIFICATES,
    KEYS,
    Places,
    Shown,
    TlsError,
    TlsMaterial,
    checked,
    in_common,
    read_certificates,
    read_folder,
    read_shown,
)
from inferloom_mesh.watched import Watched


class TlsFiles(Watched[TlsMaterial]):
    """A folder's certificate, its key and the authorities of its peers.

    Args:
        folder: Where they are.
        role: What the certificate must say that its holder is. None: anybody, as at a public door.
        clock: Monotonic seconds.
        now: The time of day.

    Raises:
        TlsError: They cannot be used.
    """

    def __init__(
        self,
        folder: Path,
        role: Role | None = None,
        clock: Callable[[], float] = time.monotonic,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self.folder = folder
        self._role = role
        self._now = now
        super().__init__(
            (folder / name for name in (*CERTIFICATES, *KEYS, *AUTHORITIES)),
            lambda: read_folder(folder, role, now()),
            f"the TLS files in {folder}",
            clock,
        )

    def replace(self, certificate: bytes, authorities: bytes) -> None:
        """Put another certificate for the same key in the place of this one, and other authorities of peers;
        both in PEM. They are used from now on.

        Raises:
            TlsError: It is none that could be used now, or cannot be written.
        """
        names = CERTIFICATES[0], KEYS[0], AUTHORITIES[0]
        places = Places(*(self.folder / name for name in names))
        now = self.current()
        checked(certificate, now.key, authorities, self._role, self._now(), places)
        if now.authorities is not None and not in_common(now.authorities, authorities):
            # Peers would not be known any more from one moment to the next.
            raise TlsError(f"{places.authorities}: has none of the authorities that came with it")
        replace(self.folder, {names[2]: authorities, names[0]: certificate})
        self.look()

    def _more(self, value: TlsMaterial) -> str:
        return f"; the certificate ends {value.ends}"


def authorities_in(file: Path) -> Watched[bytes]:
    """The authorities that callers' certificates may be from, in PEM.

    Raises:
        TlsError: They cannot be used.
    """
    return Watched((file,), lambda: read_certificates(file), f"the authorities in {file}")


def certificate_in(file: Path) -> Watched[bytes]:
    """A certificate whose key somebody else reads, in PEM.

    Raises:
        TlsError: It cannot be used.
    """
    return Watched((file,), lambda: read_certificates(file), f"the certificate in {file}")


def shown_files(authorities: Path | None, certificate: Path | None, key: Path | None) -> Watched[Shown]:
    """What a service that is not of the mesh is known by, and what is shown to it; None: nothing of that
    kind. A certificate comes with its key.

    Raises:
        TlsError: They cannot be used.
    """
    files = [file for file in (authorities, certificate, key) if file is not None]
    name = f"the TLS files {', '.join(map(str, files))}"
    return Watched(files, lambda: read_shown(authorities, certificate, key), name)
