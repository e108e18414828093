"""How the registry shows etcd who it is, and how it knows etcd."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import grpc


@dataclass(frozen=True, slots=True)
class Login:
    """A user of etcd."""

    user: str
    password: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class EtcdAccess:
    """Certificates and login; nothing of either is the default."""

    login: Login | None = None
    ca: bytes | None = field(default=None, repr=False)
    """Certificates of who signs etcd's, PEM."""
    certificate: bytes | None = field(default=None, repr=False)
    """What is shown to etcd, PEM."""
    key: bytes | None = field(default=None, repr=False)

    @classmethod
    def read(
        cls,
        *,
        ca: Path | None = None,
        certificate: Path | None = None,
        key: Path | None = None,
        user: str | None = None,
        password: str | None = None,
    ) -> "EtcdAccess":
        """Read the files.

        Raises:
            OSError: One of them cannot be read.
        """
        read = [None if file is None else file.read_bytes() for file in (ca, certificate, key)]
        return cls(Login(user, password or "") if user else None, *read)

    def open(self, target: str, options: Sequence[tuple[str, int]]) -> grpc.aio.Channel:
        """A channel to a member of etcd: TLS where there is a CA."""
        if self.ca is None:
            return grpc.aio.insecure_channel(target, options=options)
        credentials = grpc.ssl_channel_credentials(self.ca, self.key, self.certificate)
        return grpc.aio.secure_channel(target, credentials, options=options)
