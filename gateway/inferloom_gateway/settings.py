"""What the gateway can be told."""

from pydantic import AliasChoices, Field

from inferloom_mesh.net import Address, AddressField
from inferloom_mesh.settings import ServiceSettings


class GatewaySettings(ServiceSettings):
    """The gateway's settings; durations in seconds, sizes in bytes."""

    gateway_listen: AddressField = Address("127.0.0.1", 8000)
    """Where the REST façade listens."""

    gateway_grpc_listen: AddressField = Address("127.0.0.1", 9000)
    """Where the gRPC façade listens."""

    gateway_processes: int = Field(1, ge=1, le=64)
    """Processes that take requests on both addresses, each for itself: limits count for each of them."""

    gateway_shares_ports: bool = False
    """Whether this is one of several such processes; the one that starts them says so."""

    worker_timeout_s: float = Field(
        600.0,
        gt=0,
        le=86_400,
        validation_alias=AliasChoices("INFERLOOM_WORKER_TIMEOUT_S", "FASTCHAT_WORKER_API_TIMEOUT"),
    )
    """Budget of one request, from its arrival to its last token, retries included. The default is the OpenAI
    SDK's own; a gRPC caller's shorter deadline wins."""

    embedding_batch_size: int = Field(
        64,
        ge=1,
        le=2048,
        validation_alias=AliasChoices(
            "INFERLOOM_EMBEDDING_BATCH_SIZE", "FASTCHAT_WORKER_API_EMBEDDING_BATCH_SIZE"
        ),
    )
    """Most inputs of one embedding request that one call to a worker carries."""

    max_body_bytes: int = Field(8 * 2**20, ge=1024, le=2**30)
    """Largest request body that the REST façade reads."""

    max_in_flight: int = Field(4096, ge=1)
    """Most calls to workers at once; one more is answered with server_overloaded."""

    drain_limit_s: float = Field(30.0, ge=0, le=3600)
    """How long running requests may take to finish after the gateway was told to stop."""

    model_memory_s: float = Field(600.0, ge=0)
    """How long a model whose last worker went is answered with no_worker instead of model_not_found."""

    request_records: int = Field(1000, ge=1, le=1_000_000)
    """How many requests that ended are remembered, with what was tried for them and how long it took."""

    cors: bool = False
    """Whether pages from any origin may call the REST façade from a browser."""
