"""What a client is told once."""

import hashlib
import hmac
from collections.abc import Sequence
from dataclasses import dataclass, field

import grpc

from inferloom.client.course import Trying

CHANNEL_OPTIONS: tuple[tuple[str, int], ...] = (
    ("grpc.max_receive_message_length", 64 * 2**20),
    ("grpc.max_send_message_length", 64 * 2**20),
    # A peer that vanished without closing its connection is noticed within half a minute.
    ("grpc.keepalive_time_ms", 20_000),
    ("grpc.keepalive_timeout_ms", 10_000),
    ("grpc.http2.ping_timeout_ms", 10_000),  # what grpc goes by; without it, a minute
    # A gateway that restarts is found again within about a second. What is called the least back-off is also
    # how long making a connection may take: a far gateway needs several round trips.
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.min_reconnect_backoff_ms", 5_000),
    ("grpc.max_reconnect_backoff_ms", 1_000),
    ("grpc.use_local_subchannel_pool", 1),  # what another client finds out holds nothing back here
    ("grpc.enable_retries", 0),  # what is tried again is decided here
)

GATEWAY, REGISTRY, WORKER = "gateway", "registry", "worker"
"""What is called."""

_SECRET, _PURPOSE, _LEAST = "inferloom-mesh", b"inferloom mesh peer v1", 16
"""How a mesh's secret is shown, as ``inferloom_mesh.secret`` has it, which is no part of the client."""


@dataclass(frozen=True, slots=True)
class Settings:
    """How a mesh is called.

    Raises:
        ValueError: The mesh's secret is too short, or would be shown to a gateway.
    """

    gateways: Sequence[str] = ()
    """Where gateways are; empty: workers are called, as registries tell."""
    registries: Sequence[str] = ()
    api_key: str | None = None
    credentials: grpc.ChannelCredentials | None = None
    """TLS. None: nothing is encrypted."""
    mesh_secret: str | None = None
    """What the mesh's parts know each other by without certificates, or what a file of theirs holds: of
    several lines the first is shown, as they do."""
    trying: Trying = field(default_factory=Trying)

    def __post_init__(self) -> None:
        if self.mesh_secret is None:
            return
        if self.gateways:
            raise ValueError(
                "the mesh's secret is shown to registries and workers; a gateway takes an api_key"
            )
        if len(self._secret) < _LEAST:
            raise ValueError(f"the mesh's secret must have at least {_LEAST} characters")

    @property
    def _secret(self) -> str:
        """The mesh's secret as its parts read it from a file: the first line that is not empty."""
        lines = (self.mesh_secret or "").strip().splitlines()
        return lines[0].strip() if lines else ""

    @property
    def metadata(self) -> tuple[tuple[str, str], ...]:
        """What each call shows."""
        if self.mesh_secret is not None:
            token = hmac.new(self._secret.encode(), _PURPOSE, hashlib.sha256).hexdigest()
            return ((_SECRET, token),)
        return () if self.api_key is None else (("authorization", f"Bearer {self.api_key}"),)

    def options(self, role: str) -> tuple[tuple[str, int | str], ...]:
        """The options of a channel to a part of the mesh. Inside of it certificates are asked for by what
        their holders are, since they may have any address; a gateway's is its host's."""
        if self.credentials is None or role == GATEWAY:
            return CHANNEL_OPTIONS
        return (*CHANNEL_OPTIONS, ("grpc.ssl_target_name_override", f"{role}.inferloom.internal"))
