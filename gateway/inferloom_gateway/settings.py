"""What the gateway can be told."""

import re
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import AliasChoices, BeforeValidator, Field, SecretStr, model_validator
from pydantic_settings import NoDecode

from inferloom_gateway.seat import Seat
from inferloom_mesh.net import Address, AddressField
from inferloom_mesh.networks import Networks
from inferloom_mesh.settings import OptionalAddress, ServiceSettings

_ORIGIN = re.compile(r"\*|[a-z][a-z0-9+.-]*://[^\s/]+")


def _origins(value: object) -> object:
    if isinstance(value, str):
        value = [part.strip() for part in value.split(",") if part.strip()]
    if not isinstance(value, list | tuple):
        raise ValueError(f"{value!r} is neither * nor a list of origins such as https://app.example")
    for origin in value:
        if not isinstance(origin, str) or not _ORIGIN.fullmatch(origin):
            raise ValueError(f"{origin!r} is no origin: write * or scheme://host:port, without a path")
    return value


Origins = Annotated[tuple[str, ...], NoDecode, BeforeValidator(_origins)]
"""Origins of web pages, read from a list or from text with commas."""


class GatewaySettings(ServiceSettings):
    """The gateway's settings; durations in seconds, sizes in bytes."""

    gateway_listen: AddressField = Address("127.0.0.1", 8000)
    """Where the REST façade listens."""

    gateway_grpc_listen: AddressField = Address("127.0.0.1", 9000)
    """Where the gRPC façade listens."""

    gateway_metrics_listen: OptionalAddress = Address("127.0.0.1", 9100)
    """Where Prometheus reads the gateway's metrics, at ``/metrics``, besides the REST façade; ``none``: only
    there. Where nobody has set it and the port is taken, there is no such listener."""

    gateway_processes: int = Field(1, ge=1, le=64)
    """Processes that take requests on both addresses. What bounds a gateway itself (bodies, connections,
    calls in flight) holds for each of them; limits of keys are counted together."""

    zone: str = Field("", max_length=256)
    """Where this gateway is, such as a data centre's name. Workers of the same zone get requests first, as
    long as they have room. Not set: all workers are alike."""

    gateway_name: str = Field("", max_length=63, pattern=r"[!-~]*")
    """What this gateway is called where operators look; all of its processes have the name. Not set: the
    machine's name and the port of gRPC."""

    gateway_peer_listen: OptionalAddress = Address("127.0.0.1", 0)
    """Where the other processes of this gateway and other gateways ask it what it knows, with the mesh's own
    secret and certificates; one of several processes takes the port that is its number further. ``none``:
    nowhere, and they do not know what this one does. Not set: a free port, on the host of gRPC where the mesh
    has certificates, and otherwise for this machine only."""

    gateway_peer_advertise: str | None = Field(None, min_length=1, max_length=261)
    """The host, or host:port, at which they call it. Not set: where it listens."""

    worker_timeout_s: float = Field(
        600.0,
        gt=0,
        le=86_400,
        validation_alias=AliasChoices("INFERLOOM_WORKER_TIMEOUT_S", "FASTCHAT_WORKER_API_TIMEOUT"),
    )
    """Budget of one request, from its arrival to its last token, retries included. The default is the OpenAI
    SDK's own; a gRPC caller's shorter deadline wins."""

    link: Literal["attach", "grpc", "call"] = "attach"
    """How workers are called: ``attach``, all calls to a worker on one stream where it has that, on a TCP
    connection of its own where the worker has a port for it; ``grpc``, on one stream of gRPC's; ``call``, by
    a gRPC call each."""

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
    """Largest request body that the REST façade reads, before and after its Content-Encoding is undone."""

    max_upload_bytes: int = Field(512 * 2**20, ge=1024)
    """Largest file that POST /v1/files takes; it goes to disk as it arrives."""

    body_memory_bytes: int = Field(256 * 2**20, ge=1024)
    """Most bytes of request bodies that one process holds at once; beyond them, bodies are answered with
    server_overloaded."""

    max_connections: int = Field(8192, ge=1)
    """Most connections to the REST façade at once, as far as the process may have descriptors for them; one
    more is answered with 503 and closed."""

    body_limit_s: float = Field(30.0, gt=0, le=3600)
    """How long a request may take to arrive, from its first byte to the last of its body; an upload takes as
    long as it needs if it brings 16 KiB a second."""

    max_in_flight: int = Field(4096, ge=1)
    """Most calls at once that workers have, or had and are to have again; one more is answered with
    server_overloaded."""

    gateway_queue_size: int = Field(256, ge=0, le=65536)
    """Requests that may wait at the gateway ahead of another, for one model, while every worker that can take
    them is full; one more is answered with server_overloaded. 0: none waits here."""

    gateway_queue_s: float = Field(2.0, ge=0, le=3600)
    """How long a request may have to wait there, as far as can be told."""

    absent_wait_s: float = Field(10.0, ge=0, le=3600)
    """How long a model that had a worker may be without one while new requests wait for it to come back;
    after that they are answered with no_worker at once. 0: none waits."""

    slow_reader_s: float = Field(30.0, gt=0, le=3600)
    """How long a client may take nothing of what there is for it before its connection, or over gRPC its
    stream, is ended."""

    drain_delay_s: float = Field(0.0, ge=0, le=3600)
    """How long a gateway that was told to stop goes on as before, except that it is not ready: so that
    balancers of connections have time to notice."""

    drain_limit_s: float = Field(30.0, ge=0, le=3600)
    """How long running requests may take to finish after the gateway was told to stop."""

    model_memory_s: float = Field(600.0, ge=0)
    """How long a model whose last worker went is answered with no_worker instead of model_not_found."""

    batch_concurrency: int = Field(16, ge=0, le=4096)
    """Most lines of batches that one process runs at once, behind everything else; 0: none, which leaves
    batches to the other gateways of the store."""

    batch_lease_s: float = Field(10.0, ge=1, le=3600)
    """How long a gateway may be silent before others of its store answer the lines that it has claimed; the
    same for all of them."""

    request_records: int = Field(1000, ge=1, le=1_000_000)
    """How many requests that ended are remembered, with what was tried for them and how long it took."""

    strict: bool = False
    """Whether request fields that nobody knows are refused. By default they are ignored and named in the
    response header x-inferloom-ignored."""

    registry_calls: bool = False
    """Whether the registry's calls that change nothing, ListWorkers and Watch, can be made through the
    gateway: by gRPC, Connect and gRPC-Web. They tell where workers are, of whatever tenant."""

    console: bool = True
    """Whether the page at /console is served. Where keys are on, its data needs one that names the endpoint
    console. Behind a proxy and without keys it is not served, because nobody could say who looks."""

    keys: str | None = None
    """Where API keys are kept: a file, or a Redis as ``redis://host:6379/0``. Where it is set, every request
    but those for health needs a key, and the mesh needs a secret. Not set: everybody may call."""

    gateway_tls: Path | None = None
    """A folder with the certificate and the key of both façades (``tls.crt`` and ``tls.key``, or
    ``fullchain.pem`` and ``privkey.pem``), for callers who do not know the mesh's own authority. Not set:
    those of ``tls``, if that is."""

    gateway_client_ca: Path | None = None
    """A file with the authorities that callers' certificates must be from. One that is replaced is used by
    connections that begin then. Not set: callers show none."""

    behind_proxy: bool = False
    """Whether callers reach both façades through a proxy that does TLS, and asks who calls where there are no
    keys: they then listen beyond this machine without either. With ``gateway_tls`` the way from the proxy is
    encrypted too."""

    trusted_proxies: Networks = ()
    """Networks of the proxies that callers of REST come through: their word is taken for the addresses of
    callers, in the log and for ``allow``. Not set: callers have the address that their connection comes
    from."""

    proxy_header: Literal["x-forwarded-for", "forwarded"] = "x-forwarded-for"
    """The header in which they say it."""

    limits_share: float = Field(1.0, gt=0, le=1)
    """This gateway's part of the limits, where several gateways have keys in a file: a half for each of two.
    Gateways that have keys in Redis count together and leave it at 1."""

    event_ids: bool = True
    """Whether the events of streamed chat and text completions have ids. Clients that read a stream by its
    blank lines, and not as server-sent events, may take none."""

    cors: Origins = ()
    """Origins, such as ``https://app.example``, whose pages may call the REST façade from a browser; ``*``:
    all. Not set: none but the gateway's own."""

    store: Path | None = None
    """Folder of files, batches, and stored chat completions and responses, which several gateways may share;
    without it, one in the user's own data folder. It is made when something is first stored."""

    no_store: bool = False
    """Whether nothing is ever stored: what needs a store is not served."""

    store_journal: Literal["auto", "wal", "rollback"] = "auto"
    """How the store's database is written: ``rollback`` where several machines share its folder, ``wal`` on
    one. ``auto`` tells by the file system."""

    store_max_bytes: int = Field(32 * 2**30, ge=2**20)
    """Most bytes that the store holds for all tenants together."""

    store_spare_bytes: int = Field(256 * 2**20, ge=0)
    """What is to be free on the store's disk for something to be stored, begun or accepted. What is under
    way, such as a response in background or lines of a batch that run, goes on into it."""

    store_max_items: int = Field(100_000, ge=1)
    """Most files, batches, chat completions and responses, of each, that one tenant has in the store. Of the
    latter two the oldest then give way."""

    store_age_s: float = Field(30 * 86_400.0, gt=0)
    """How long something stays in the store, unless a request says otherwise."""

    background_limit_s: float = Field(3600.0, gt=0, le=86_400)
    """Budget of a response in background, from its arrival to its last token, with its wait for a worker."""

    background_responses: int = Field(1000, ge=1)
    """Most responses in background that are under way at once, over all gateways of a store."""

    reasoning_key: SecretStr | None = Field(None, min_length=16)
    """The secret that ``reasoning.encrypted_content`` is encrypted with; gateways that open each other's have
    the same. Without it the store has one, and a gateway without a store makes one when it starts."""

    @model_validator(mode="after")
    def _check_keys(self) -> Self:
        if self.keys is not None and not super().asks_who_calls:
            raise ValueError(
                "keys need a secret that the mesh's services have in common, or certificates: set "
                "mesh_secret, mesh_secret_file or tls for all of them, or callers could go past the gateway"
            )
        return self

    @property
    def seat(self) -> Seat | None:
        """Which of a gateway's processes this is; the one that starts them says so. None: it is the only
        one."""
        return None

    @property
    def asks_who_calls(self) -> bool:
        """Whether callers need keys."""
        return self.keys is not None

    @property
    def encrypted(self) -> bool:
        """Whether both façades do TLS."""
        return self.gateway_tls is not None or (self.tls is not None and not self.behind_proxy)
