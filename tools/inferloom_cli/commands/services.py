"""The commands that run one service."""

from typing import Annotated

import typer

from inferloom_cli.options import (
    AdapterFlags,
    AliasFlags,
    Allow,
    BehindProxy,
    Cors,
    GenerationConfig,
    Insecure,
    Keys,
    LogFormat,
    LogLevel,
    MetricsListen,
    ModelFlags,
    NoStore,
    Quantize,
    ReadyFile,
    ReasoningFormat,
    Registry,
    Speculation,
    StoreFolder,
    Strict,
    Threads,
    Tls,
    ToolFormat,
    TrustedProxies,
    Zone,
)


def registry(
    listen: Annotated[
        str | None,
        typer.Option(
            metavar="HOST:PORT",
            envvar="INFERLOOM_REGISTRY_LISTEN",
            help="Where to listen. [default: 127.0.0.1:7000]",
        ),
    ] = None,
    settle: Annotated[
        float | None,
        typer.Option(
            metavar="SECONDS",
            envvar="INFERLOOM_SETTLE_S",
            help="How long workers may take to come back after its start. [default: a lease]",
        ),
    ] = None,
    etcd: Annotated[
        str | None,
        typer.Option(
            metavar="HOST:PORT,…",
            envvar="INFERLOOM_ETCD",
            help="Members of an etcd that several registries share. [default: none, this one is alone]",
        ),
    ] = None,
    tls: Tls = None,
    insecure: Insecure = None,
    allow: Allow = None,
    metrics_listen: MetricsListen = None,
    log_level: LogLevel = None,
    log_format: LogFormat = None,
    ready_file: ReadyFile = None,
) -> None:
    """Run the registry, which knows which workers are alive.

    Several registries with one etcd have one set of workers; workers and gateways are told of all of them.

    Examples:

    ```
    inferloom registry --listen 127.0.0.1:7000
    inferloom registry --listen 10.0.0.5:7000 --etcd 10.0.0.2:2379,10.0.0.3:2379,10.0.0.4:2379
    ```
    """
    from inferloom_cli import services

    services.registry(
        ready_file,
        registry_listen=listen,
        settle_s=settle,
        etcd=etcd,
        registry_metrics_listen=metrics_listen,
        tls=tls,
        insecure=insecure,
        allow=allow,
        log_level=log_level,
        log_format=log_format,
    )


def worker(
    model: ModelFlags = None,
    adapter: AdapterFlags = None,
    alias: AliasFlags = None,
    listen: Annotated[
        str | None,
        typer.Option(
            metavar="HOST:PORT",
            envvar="INFERLOOM_WORKER_LISTEN",
            help="Where to listen; port 0 takes a free one. [default: 127.0.0.1:7100]",
        ),
    ] = None,
    link_port: Annotated[
        str | None,
        typer.Option(
            metavar="PORT",
            envvar="INFERLOOM_WORKER_LINK_PORT",
            help="Port, at the same host, where gateways attach without gRPC, or none. "
            "[default: one that is free]",
        ),
    ] = None,
    name: Annotated[
        str | None,
        typer.Option(
            "--id",
            metavar="NAME",
            envvar="INFERLOOM_WORKER_ID",
            help="Name in the mesh, unique. [default: made from the host and the port]",
        ),
    ] = None,
    dtype: Annotated[
        str | None,
        typer.Option(
            metavar="TYPE",
            envvar="INFERLOOM_DTYPE",
            help="Compute in float32, bfloat16 or float16. [default: auto, quantised files as they are]",
        ),
    ] = None,
    quantize: Quantize = None,
    tool_format: ToolFormat = None,
    reasoning_format: ReasoningFormat = None,
    threads: Threads = None,
    speculation: Speculation = None,
    generation_config: GenerationConfig = None,
    registry: Registry = None,
    zone: Zone = None,
    tls: Tls = None,
    insecure: Insecure = None,
    allow: Allow = None,
    metrics_listen: MetricsListen = None,
    log_level: LogLevel = None,
    log_format: LogFormat = None,
    ready_file: ReadyFile = None,
) -> None:
    """Run a worker, which holds models and answers for them.

    It joins the mesh of its registry, and keeps serving whoever calls it while the registry is away.

    Examples:

    ```
    inferloom worker --model all-minilm-l6-v2 --listen 127.0.0.1:7101
    inferloom worker --model chat=./chat.gguf --model embed=./embedder --registry 10.0.0.5:7000
    ```
    """
    from inferloom_cli import services

    services.worker(
        ready_file,
        models=tuple(model) if model else None,
        adapters=tuple(adapter) if adapter else None,
        aliases=tuple(alias) if alias else None,
        worker_listen=listen,
        worker_link_port=link_port,
        worker_id=name,
        worker_metrics_listen=metrics_listen,
        dtype=dtype,
        quantize=quantize,
        tool_format=tool_format,
        reasoning_format=reasoning_format,
        threads=threads,
        speculation=speculation,
        generation_config=generation_config,
        registry=registry,
        zone=zone,
        tls=tls,
        insecure=insecure,
        allow=allow,
        log_level=log_level,
        log_format=log_format,
    )


def gateway(
    listen: Annotated[
        str | None,
        typer.Option(
            metavar="HOST:PORT",
            envvar="INFERLOOM_GATEWAY_LISTEN",
            help="Where REST listens. [default: 127.0.0.1:8000]",
        ),
    ] = None,
    grpc_listen: Annotated[
        str | None,
        typer.Option(
            metavar="HOST:PORT",
            envvar="INFERLOOM_GATEWAY_GRPC_LISTEN",
            help="Where gRPC listens. [default: 127.0.0.1:9000]",
        ),
    ] = None,
    processes: Annotated[
        int | None,
        typer.Option(
            "--processes",
            min=1,
            max=64,
            envvar="INFERLOOM_GATEWAY_PROCESSES",
            help="Processes that share both addresses, for machines with cores to spare. [default: 1]",
        ),
    ] = None,
    strict: Strict = None,
    cors: Cors = None,
    keys: Keys = None,
    seat: Annotated[int | None, typer.Option("--seat", hidden=True)] = None,
    store: StoreFolder = None,
    no_store: NoStore = None,
    drain_delay: Annotated[
        float | None,
        typer.Option(
            metavar="SECONDS",
            min=0,
            max=3600,
            envvar="INFERLOOM_DRAIN_DELAY_S",
            help="Go on for so long after SIGTERM, but not be ready, for balancers to notice. [default: 0]",
        ),
    ] = None,
    registry: Registry = None,
    zone: Zone = None,
    tls: Tls = None,
    insecure: Insecure = None,
    behind_proxy: BehindProxy = None,
    trusted_proxies: TrustedProxies = None,
    allow: Allow = None,
    metrics_listen: MetricsListen = None,
    log_level: LogLevel = None,
    log_format: LogFormat = None,
    ready_file: ReadyFile = None,
) -> None:
    """Run the gateway, which takes OpenAI and gRPC requests and routes them to workers."""
    from inferloom_cli import services

    services.gateway(
        ready_file,
        seat,
        gateway_listen=listen,
        gateway_grpc_listen=grpc_listen,
        gateway_processes=processes,
        drain_delay_s=drain_delay,
        gateway_metrics_listen=metrics_listen,
        strict=strict,
        cors=cors,
        keys=keys,
        store=store,
        no_store=no_store,
        registry=registry,
        zone=zone,
        tls=tls,
        insecure=insecure,
        behind_proxy=behind_proxy,
        trusted_proxies=trusted_proxies,
        allow=allow,
        log_level=log_level,
        log_format=log_format,
    )
