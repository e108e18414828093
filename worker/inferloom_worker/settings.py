"""What the worker can be told."""

import re
import socket
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import AliasChoices, BeforeValidator, Field, model_validator
from pydantic_settings import NoDecode

from inferloom_mesh.net import Address, Addresses, AddressesField, AddressField
from inferloom_mesh.settings import OptionalAddress, ServiceSettings, or_none
from inferloom_worker.embed.options import EmbedOptions
from inferloom_worker.engine.options import Dtype, EngineOptions, Quantize
from inferloom_worker.hosting.load_options import GenerationConfig, LoadOptions
from inferloom_worker.output.formats import REASONING_FORMATS, TOOL_FORMATS
from inferloom_worker.sourcing.demo import MODELS
from inferloom_worker.sourcing.flags import parse_adapter_flag, parse_alias_flag, parse_model_flag

DEFAULT_ADDRESS = Address("127.0.0.1", 7100)
"""Where the first worker of a machine listens; the next ones take the ports after it."""

DEFAULT_METRICS_ADDRESS = Address("127.0.0.1", 9102)
"""Where the first worker of a machine has its metrics; likewise."""

_ECHO_OPTION = re.compile(r",(?=(?:delay_ms|tokens|chunk|context)=)")
_HOST = re.compile(r"(\[[0-9a-f:.]+\]|[^\s:/\[\]@?#]+)(:\d{1,5})?")
_WORKER_ID = r"^[a-z0-9]([a-z0-9.-]{0,61}[a-z0-9])?$"


def _split(value: object) -> object:
    if not isinstance(value, str):
        return value
    # The commas between the echo engine's options do not part models.
    parts = _ECHO_OPTION.sub("\0", value).split(",")
    return [part.strip().replace("\0", ",") for part in parts if part.strip()]


def _named(value: object) -> object:
    if not isinstance(value, list | tuple):
        return value
    return [parse_model_flag(item) if isinstance(item, str) else item for item in value]


def _parsed(value: object, parse: Callable[[str], tuple[str, ...]]) -> object:
    if isinstance(value, str):
        value = [part.strip() for part in value.split(",") if part.strip()]
    if not isinstance(value, list | tuple):
        return value
    return [parse(item) if isinstance(item, str) else item for item in value]


def _hosts(value: object) -> object:
    if isinstance(value, str):
        value = value.split(",")
    if not isinstance(value, list | tuple):
        return value
    hosts = tuple(str(part).strip().lower() for part in value if str(part).strip())
    for host in hosts:
        if not _HOST.fullmatch(host):
            raise ValueError(f"{host!r} is neither HOST nor HOST:PORT")
    return hosts


def _adapted(value: object) -> object:
    return _parsed(value, parse_adapter_flag)


def _aliased(value: object) -> object:
    return _parsed(value, parse_alias_flag)


Models = Annotated[tuple[tuple[str, str], ...], NoDecode, BeforeValidator(_named), BeforeValidator(_split)]
"""Pairs of name and spec, read from a list, or text with commas, of ``NAME=SPEC``."""

Adapters = Annotated[tuple[tuple[str, str, str], ...], NoDecode, BeforeValidator(_adapted)]
"""Triples of name, base and spec, read from a list, or text with commas, of ``NAME=BASE=SPEC``."""


def _format(value: str) -> tuple[str, str]:
    model, _, name = value.rpartition("=")
    return model, name


def _formatted(value: object) -> object:
    return _parsed(value, _format)


Formats = Annotated[tuple[tuple[str, str], ...], NoDecode, BeforeValidator(_formatted)]
"""Pairs of model, or nothing for all, and format, read from a list, or text with commas."""

Aliases = Annotated[tuple[tuple[str, str], ...], NoDecode, BeforeValidator(_aliased)]
"""Pairs of name and model, read from a list, or text with commas, of ``NAME=MODEL``."""


class WorkerSettings(ServiceSettings):
    """Settings of a worker."""

    registry: Annotated[AddressesField | None, NoDecode, BeforeValidator(or_none)] = Addresses(  # type: ignore[assignment] # a worker can do without
        [Address("127.0.0.1", 7000)]
    )
    """Where the registry is, or the registries of one store; ``none``: the worker serves who knows its
    address."""

    worker_listen: AddressField | None = None
    """Where it listens. Not set: port 7100 on the loopback interface, or the next one that is free."""

    worker_advertise: str | None = None
    """Address or host by which others reach it. Not set: where it listens."""

    worker_link_port: Annotated[
        Annotated[int, Field(ge=0, le=65535)] | None, NoDecode, BeforeValidator(or_none)
    ] = 0
    """Port, at the same host, where gateways attach on connections without gRPC, which cost both sides less;
    ``none``: they attach by gRPC. Not set: one that is free."""

    worker_link_advertise: str | None = None
    """Host, or host:port, by which gateways reach that port. Not set: the host by which others reach the
    worker, unless its port is another than it listens on: then gateways attach by gRPC."""

    worker_metrics_listen: OptionalAddress = DEFAULT_METRICS_ADDRESS
    """Where Prometheus reads its metrics, at ``/metrics``; ``none``: nowhere. Not set: port 9102 on the
    loopback interface, or the next one that is free."""

    join_token_file: Path | None = None
    """A file with a join token (`inferloom certs token`), which is good once: a worker whose folder ``tls``
    has no certificate, or one that is over, gets one for it from its registry, and renews it, also when it
    is started without the token later. Not set: the folder has one."""

    worker_id: str | None = Field(default=None, pattern=_WORKER_ID)
    """Its name, unique in the mesh. Not set: made of the host's name and the port."""

    zone: str = Field(default="", max_length=256)
    """Where it is, such as a data centre's name. Gateways that are there too prefer it. Not set: nowhere."""

    models: Models = tuple((name, name) for name in MODELS)
    """What it serves. Not set: the demo models."""

    adapters: Adapters = ()
    """LoRA adapters that it serves under names of their own, each on one of the models."""

    aliases: Aliases = ()
    """Further names of its models and adapters. An alias takes no memory of its own."""

    max_adapters: int = Field(default=32, ge=0, le=128)
    """Adapters that a model takes at most."""

    max_adapter_rank: int = Field(default=256, ge=1, le=4096)
    """Highest rank of an adapter; with ``max_adapters``, it bounds the memory that adapters take."""

    drain_limit_s: float = Field(default=30.0, ge=0)
    """How long running requests may go on when the worker stops, in seconds."""

    cache_dir: Path | None = None
    """Folder for the demo models and for kernels that are compiled here. Not set: the user's cache folder.
    Models of the hub are in the cache of the hub's own client (HF_HOME), where other programs find them."""

    device: str = Field(default="auto", pattern=r"^(auto|cpu|cuda(:\d+)?)$")
    """Where models are computed."""

    dtype: Dtype = "auto"
    """Type that models are computed in. ``auto``: quantised files as they are, in the kernels where those
    compute the model."""

    quantize: Quantize | None = None
    """Rounds models that come in full precision to int8 or int4 when they are loaded. Not set: they stay."""

    max_running: int = Field(default=64, ge=1, le=4096)
    """Sequences in a model's running batch; at most ``max_step_tokens``, as each takes one in a step."""

    max_waiting: int = Field(default=256, ge=0, le=65536)
    """Requests that may wait for a model ahead of another, which is refused past it."""

    max_wait_s: float = Field(default=30.0, ge=0, le=86_400)
    """How long a request may have to wait for a model, in seconds, as far as can be told from those that
    wait and from how long answers took lately; past it, or past its own deadline, it is refused."""

    max_step_tokens: int = Field(default=512, ge=16, le=65536)
    """Tokens in one step of a model, decoded and prefilled together."""

    speculation: Literal["auto", "off"] | Annotated[int, Field(ge=1, le=64)] = "auto"
    """Tokens of a sequence that are guessed from its own past and checked in one step at most. ``auto``: as
    many as make generating faster, by the time that steps take."""

    context_length: int | None = Field(default=None, ge=16)
    """Most tokens of one sequence. Not set: the model's own length."""

    generation_config: GenerationConfig = "auto"
    """Where temperature, top_p, top_k, min_p and repetition_penalty come from when a request is silent.
    ``auto``: from the model's ``generation_config.json``, or its GGUF file; ``openai``: OpenAI's defaults."""

    tool_format: Formats = ()
    """How models write calls of functions: the name of a format, or with commas several of ``MODEL=FORMAT``.
    Not set: as their chat templates show it."""

    reasoning_format: Formats = ()
    """How models mark reasoning; likewise. ``none``: it is text as any other."""

    kv_cache_mib: int | None = Field(default=None, ge=1)
    """Memory for sequence state per model, in MiB. Not set: by the memory that is free."""

    threads: int | None = Field(default=None, ge=1)
    """Threads for computing on the CPU. Not set: one for each core."""

    embedding_batch_size: int = Field(
        default=32,
        ge=1,
        le=2048,
        validation_alias=AliasChoices(
            "embedding_batch_size",
            "INFERLOOM_EMBEDDING_BATCH_SIZE",
            "FASTCHAT_WORKER_API_EMBEDDING_BATCH_SIZE",
        ),
    )
    """Texts that are embedded in one pass at most."""

    server_hosts: Annotated[tuple[str, ...], NoDecode, BeforeValidator(_hosts)] = ()
    """Where servers may be that ``LoadModel`` names for the engine ``sidecar``: hosts, or ``HOST:PORT``, as
    they stand in addresses, with commas. Not set: nowhere. ``--model`` is not bound by it."""

    max_priority: int = Field(default=0, ge=-100, le=100)
    """Highest priority that a request gets, whatever it asks for: by default nobody can raise himself above
    the others, only step back."""

    @model_validator(mode="after")
    def _check_joining(self) -> Self:
        if self.join_token_file is not None and self.tls is None:
            raise ValueError("join_token_file needs tls, the folder where the certificate is to go")
        return self

    @model_validator(mode="after")
    def _check_aliases(self) -> Self:
        names = [name for name, *_ in (*self.models, *self.adapters, *self.aliases)]
        real = {name for name, *_ in (*self.models, *self.adapters)}
        for name, of in self.aliases:
            if of not in real:
                raise ValueError(f"the alias {name} is for {of}, which is not among the models and adapters")
            if names.count(name) > 1:
                raise ValueError(f"the alias {name} has the name of another model, adapter or alias")
        return self

    @model_validator(mode="after")
    def _check_formats(self) -> Self:
        _known_formats("tool_format", self.tool_format, TOOL_FORMATS)
        _known_formats("reasoning_format", self.reasoning_format, REASONING_FORMATS)
        return self

    @model_validator(mode="after")
    def _check_step(self) -> Self:
        if self.max_running > self.max_step_tokens:
            raise ValueError(
                f"max_running ({self.max_running}) is more than max_step_tokens ({self.max_step_tokens}), "
                "so some would never have a token in a step"
            )
        return self

    @model_validator(mode="after")
    def _check_adapters(self) -> Self:
        names = [name for name, *_ in (*self.models, *self.adapters)]
        bases = {name for name, _ in self.models}
        for name, base, _ in self.adapters:
            if base not in bases:
                raise ValueError(f"the adapter {name} is for {base}, which is not among the models")
            if names.count(name) > 1:
                raise ValueError(f"the adapter {name} has the name of another adapter or model")
        return self

    def load_options(self) -> LoadOptions:
        """What model loading needs of these settings."""
        return LoadOptions(
            engine=EngineOptions(
                dtype=self.dtype,
                quantize=self.quantize,
                device=self.device,
                max_running=self.max_running,
                max_waiting=self.max_waiting,
                max_wait_s=self.max_wait_s,
                max_step_tokens=self.max_step_tokens,
                speculation=self.speculation,
                context_length=self.context_length,
                kv_cache_bytes=None if self.kv_cache_mib is None else self.kv_cache_mib * 2**20,
                max_adapter_rank=self.max_adapter_rank,
                threads=self.threads,
            ),
            embed=EmbedOptions(
                batch_size=self.embedding_batch_size,
                dtype=self.dtype,
                threads=self.threads,
                device=self.device,
            ),
            cache_dir=self.cache_dir,
            generation_config=self.generation_config,
            tool_formats=self.tool_format,
            reasoning_formats=self.reasoning_format,
        )


def _known_formats(setting: str, given: Formats, known: Sequence[str]) -> None:
    for _, name in given:
        if name not in known:
            raise ValueError(f"{setting} is one of {', '.join(known)}, not {name}")


def default_worker_id(port: int, hostname: str | None = None) -> str:
    """A valid name made of the host's and the port, such as ``box-7100``."""
    host = re.sub(r"[^a-z0-9.-]+", "-", (hostname or socket.gethostname()).lower()).strip(".-")
    return f"{host[:50].strip('.-') or 'worker'}-{port}"
