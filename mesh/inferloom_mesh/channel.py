"""gRPC channels, built the same way in every client."""

from collections.abc import Sequence

import grpc

from inferloom_mesh.net import Address
from inferloom_mesh.renewed_channel import RenewedChannel
from inferloom_mesh.roles import Role
from inferloom_mesh.security import OPEN, Security
from inferloom_mesh.server import FLOW, MAX_MESSAGE_BYTES

OPTIONS: tuple[tuple[str, int], ...] = (
    *FLOW,
    ("grpc.max_receive_message_length", MAX_MESSAGE_BYTES),
    ("grpc.max_send_message_length", MAX_MESSAGE_BYTES),
    # A peer that hangs or vanished without closing its connection is noticed within 13 s, also between calls.
    # That must not be shorter than servers permit (``min_ping_interval_without_data_ms``).
    ("grpc.keepalive_time_ms", 8_000),
    ("grpc.keepalive_timeout_ms", 4_000),
    ("grpc.http2.ping_timeout_ms", 4_000),  # what grpc goes by; without it, a minute
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.http2.max_pings_without_data", 0),
    # A service that restarts is found again within about a second. What is called the least back-off is also
    # how long making a connection may take: a far peer needs several round trips.
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.min_reconnect_backoff_ms", 5_000),
    ("grpc.max_reconnect_backoff_ms", 1_000),
    ("grpc.enable_http_proxy", 0),  # a proxy for the web is never meant for traffic inside the mesh
    ("grpc.enable_retries", 0),  # retrying is the router's decision
)


def open_channel(
    address: Address | str,
    interceptors: Sequence[grpc.aio.ClientInterceptor] = (),
    *,
    security: Security = OPEN,
    of: Role | None = None,
) -> grpc.aio.Channel:
    """Open a channel to ``host:port``. It connects at the first call.

    Args:
        address: Where.
        interceptors: Of its calls.
        security: Of the part that calls. With certificates, the channel is encrypted, and shows them.
        of: What must answer. None: whoever has a certificate for the host.
    """
    # Own subchannels per channel: a connection in back-off is not shared between unrelated clients.
    options: tuple[tuple[str, int | str], ...] = (*OPTIONS, ("grpc.use_local_subchannel_pool", 1))
    if (files := security.tls) is None:
        return grpc.aio.insecure_channel(str(address), options=options, interceptors=interceptors)
    if of is not None:
        options = (*options, ("grpc.ssl_target_name_override", of.server_name))

    def connect() -> grpc.aio.Channel:
        now = files.current()
        credentials = grpc.ssl_channel_credentials(now.authorities, now.key, now.certificate)
        return grpc.aio.secure_channel(str(address), credentials, options=options, interceptors=interceptors)

    return RenewedChannel(connect, files.generation)
