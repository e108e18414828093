"""What a client is told once."""

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
    ("grpc.max_reconnect_backoff_ms", 2_000),
    ("grpc.enable_retries", 0),  # what is tried again is decided here
)


@dataclass(frozen=True, slots=True)
class Settings:
    """How a mesh is called."""

    gateways: Sequence[str] = ()
    """Where gateways are; empty: workers are called, as registries tell."""
    registries: Sequence[str] = ()
    api_key: str | None = None
    credentials: grpc.ChannelCredentials | None = None
    """TLS. None: nothing is encrypted."""
    trying: Trying = field(default_factory=Trying)

    @property
    def metadata(self) -> tuple[tuple[str, str], ...]:
        """What each call shows."""
        return () if self.api_key is None else (("authorization", f"Bearer {self.api_key}"),)
