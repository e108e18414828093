"""The command that runs everything."""

import time
from pathlib import Path
from typing import Annotated

import typer

from inferloom_cli.options import (
    AdapterFlags,
    AliasFlags,
    BehindProxy,
    Certs,
    Cors,
    GenerationConfig,
    Insecure,
    Keys,
    LogFormat,
    ModelFlags,
    NoStore,
    Quantize,
    ReadyFile,
    ReasoningFormat,
    Speculation,
    StoreFolder,
    Strict,
    Threads,
    ToolFormat,
)

began = time.monotonic()
"""When the command was started, as far as it can tell."""


def up(
    model: ModelFlags = None,
    adapter: AdapterFlags = None,
    alias: AliasFlags = None,
    workers: Annotated[int, typer.Option("--workers", "-n", min=1, max=64, help="Worker processes.")] = 1,
    host: Annotated[
        str | None, typer.Option(help="Address that every service listens on. [default: 127.0.0.1]")
    ] = None,
    port: Annotated[
        int | None, typer.Option(min=0, max=65535, help="REST port; 0 takes a free one. [default: 8000]")
    ] = None,
    grpc_port: Annotated[
        int | None, typer.Option(min=0, max=65535, help="The gateway's gRPC port. [default: 9000]")
    ] = None,
    registry_port: Annotated[
        int | None, typer.Option(min=0, max=65535, help="The registry's port. [default: 7000]")
    ] = None,
    worker_port: Annotated[
        int | None,
        typer.Option(min=0, max=65535, help="The first worker's port; others follow. [default: 7100]"),
    ] = None,
    gateway_processes: Annotated[
        int | None,
        typer.Option(
            min=1, max=64, help="Gateway processes, which share the REST and gRPC ports. [default: 1]"
        ),
    ] = None,
    strict: Strict = None,
    generation_config: GenerationConfig = None,
    quantize: Quantize = None,
    tool_format: ToolFormat = None,
    reasoning_format: ReasoningFormat = None,
    speculation: Speculation = None,
    threads: Threads = None,
    cors: Cors = None,
    keys: Keys = None,
    certs: Certs = None,
    insecure: Insecure = None,
    behind_proxy: BehindProxy = None,
    store: StoreFolder = None,
    no_store: NoStore = None,
    log_format: LogFormat = None,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Show every service's log lines.")] = False,
    ready_file: ReadyFile = None,
    log_dir: Annotated[
        Path | None,
        typer.Option(file_okay=False, help="Folder for log files. [default: one per run, in the user's own]"),
    ] = None,
) -> None:
    """Start a registry, workers and a gateway on this machine, and keep them running.

    With no flags it serves a small chat model and an embedding model, which it fetches the first time.
    Ctrl-C lets running requests finish and stops everything; a second Ctrl-C ends it at once.

    Examples:

    ```
    inferloom up
    inferloom up --model qwen=Qwen/Qwen3-0.6B --workers 2
    inferloom up --model tiny=./tiny.gguf --model embed=all-minilm-l6-v2 --port 8080
    inferloom up --model base=./llama --adapter support=base=./support-lora
    inferloom up --model chat=smollm2-135m-instruct --alias gpt-4o=chat
    inferloom up --keys keys.db
    inferloom up --host 0.0.0.0 --certs mesh --keys keys.db
    ```
    """
    from inferloom_cli.up import up as run
    from inferloom_cli.up_flags import UpFlags

    flags = UpFlags(
        models=model or (),
        adapters=adapter or (),
        aliases=alias or (),
        workers=workers,
        host=host,
        port=port,
        grpc_port=grpc_port,
        registry_port=registry_port,
        worker_port=worker_port,
        gateway_processes=gateway_processes,
        strict=strict,
        generation_config=generation_config,
        quantize=quantize,
        tool_format=tool_format,
        reasoning_format=reasoning_format,
        speculation=speculation,
        threads=threads,
        cors=cors,
        keys=keys,
        certs=certs,
        insecure=insecure,
        behind_proxy=behind_proxy,
        store=store,
        no_store=no_store,
        log_format=log_format,
        verbose=verbose,
        ready_file=ready_file,
        log_dir=log_dir,
    )
    run(flags, began)
