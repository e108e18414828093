"""How the registry shows etcd who it is, and how it knows etcd."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import grpc

from inferloom_mesh.renewed_channel import channel_to
from inferloom_mesh.tls_reading import Shown
from inferloom_mesh.watched import Watched


@dataclass(frozen=True, slots=True)
class Login:
    """A user of etcd."""

    user: str
    password: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class EtcdAccess:
    """Certificates and login; nothing of either is the default."""

    login: Callable[[], Login] | None = None
    """Who logs in now: a password that is in a file may be replaced."""
    tls: Watched[Shown] | None = None
    """What etcd is known by, and what is shown to it. None: without TLS."""

    def open(self, target: str, options: Sequence[tuple[str, int]]) -> grpc.aio.Channel:
        """A channel to a member of etcd. What begins on it uses the files as they are then."""
        if self.tls is None:
            return grpc.aio.insecure_channel(target, options=options)
        return channel_to(target, self.tls, options)
