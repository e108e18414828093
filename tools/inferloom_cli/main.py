"""The commands. Each imports what it needs when it runs, so that `inferloom --help` and `ps` stay quick."""

import asyncio
import sys
import time
from pathlib import Path
from typing import Annotated

import typer

from inferloom_cli.options import (
    AdapterFlags,
    AsJson,
    BenchApi,
    Gateway,
    LogLevel,
    ModelArgument,
    ReadyFile,
    Registry,
)
from inferloom_cli.refusal import MISUSED, RefusedError

began = time.monotonic()

app = typer.Typer(
    help="A gRPC-backed inference mesh with an OpenAI-compatible REST façade.\n\n"
    "Start everything on this machine with `inferloom up`, then `inferloom chat`.\n\n"
    "Settings come from flags, then INFERLOOM_… variables, then inferloom.toml.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _print_version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        print(f"inferloom {version('inferloom')}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool,
        typer.Option(
            "--version", is_eager=True, callback=_print_version, help="Print the version and leave."
        ),
    ] = False,
) -> None:
    pass


@app.command(rich_help_panel="Run")
def up(
    model: Annotated[
        list[str] | None,
        typer.Option(
            "--model",
            "-m",
            metavar="NAME=SPEC",
            help="A model to serve; repeat it for more. SPEC is a demo model id, a GGUF file, a folder with "
            "safetensors, a hub id, or `echo`. [default: both demo models]",
        ),
    ] = None,
    adapter: AdapterFlags = None,
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
    ```
    """
    from inferloom_cli.up import UpFlags
    from inferloom_cli.up import up as run

    flags = UpFlags(
        models=model or (),
        adapters=adapter or (),
        workers=workers,
        host=host,
        port=port,
        grpc_port=grpc_port,
        registry_port=registry_port,
        worker_port=worker_port,
        gateway_processes=gateway_processes,
        verbose=verbose,
        ready_file=ready_file,
        log_dir=log_dir,
    )
    run(flags, began)


@app.command(rich_help_panel="Run")
def registry(
    listen: Annotated[
        str | None,
        typer.Option(
            metavar="HOST:PORT",
            envvar="INFERLOOM_REGISTRY_LISTEN",
            help="Where to listen. [default: 127.0.0.1:7000]",
        ),
    ] = None,
    log_level: LogLevel = None,
    ready_file: ReadyFile = None,
) -> None:
    """Run the registry, which knows which workers are alive."""
    from inferloom_cli import services

    services.registry(ready_file, registry_listen=listen, log_level=log_level)


@app.command(rich_help_panel="Run")
def worker(
    model: Annotated[
        list[str] | None,
        typer.Option(
            "--model",
            "-m",
            metavar="NAME=SPEC",
            help="A model to serve; repeat it for more. SPEC is a demo model id, a GGUF file, a folder with "
            "safetensors, a hub id, or `echo`.",
        ),
    ] = None,
    adapter: AdapterFlags = None,
    listen: Annotated[
        str | None,
        typer.Option(
            metavar="HOST:PORT",
            envvar="INFERLOOM_WORKER_LISTEN",
            help="Where to listen; port 0 takes a free one. [default: 127.0.0.1:7100]",
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
    quantize: Annotated[
        str | None,
        typer.Option(
            metavar="TYPE",
            envvar="INFERLOOM_QUANTIZE",
            help="Round full-precision models to int8 or int4 when they are loaded.",
        ),
    ] = None,
    threads: Annotated[
        int | None,
        typer.Option(
            min=1,
            envvar="INFERLOOM_THREADS",
            help="Threads that compute on the CPU. [default: one for each core]",
        ),
    ] = None,
    speculation: Annotated[
        str | None,
        typer.Option(
            metavar="auto|off|N",
            envvar="INFERLOOM_SPECULATION",
            help="Guess up to N tokens of an answer from its own text and check them in one step. "
            "[default: auto, as many as make it faster]",
        ),
    ] = None,
    registry: Registry = None,
    log_level: LogLevel = None,
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
        worker_listen=listen,
        worker_id=name,
        dtype=dtype,
        quantize=quantize,
        threads=threads,
        speculation=speculation,
        registry=registry,
        log_level=log_level,
    )


@app.command(rich_help_panel="Run")
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
    shares_ports: Annotated[bool | None, typer.Option("--shares-ports", hidden=True)] = None,
    registry: Registry = None,
    log_level: LogLevel = None,
    ready_file: ReadyFile = None,
) -> None:
    """Run the gateway, which takes OpenAI and gRPC requests and routes them to workers."""
    from inferloom_cli import services

    services.gateway(
        ready_file,
        gateway_listen=listen,
        gateway_grpc_listen=grpc_listen,
        gateway_processes=processes,
        gateway_shares_ports=shares_ports,
        registry=registry,
        log_level=log_level,
    )


@app.command(rich_help_panel="Look")
def ps(
    registry: Registry = None,
    as_json: AsJson = False,
    watch: Annotated[bool, typer.Option("--watch", "-w", help="Keep the table up to date.")] = False,
) -> None:
    """Show the workers: where they are, what they hold, how busy they are, and their leases."""
    from inferloom_cli import ps as view
    from inferloom_cli.settings import ClientSettings, load

    address = load(ClientSettings, registry=registry).registry
    asyncio.run(view.watch(address) if watch else view.show(address, as_json=as_json))


@app.command(rich_help_panel="Look")
def models(gateway: Gateway = None, registry: Registry = None, as_json: AsJson = False) -> None:
    """Show the models that can be called, and how many workers hold each."""
    from inferloom_cli import models as view
    from inferloom_cli.settings import ClientSettings, load

    settings = load(ClientSettings, gateway=gateway, registry=registry)
    asyncio.run(view.show(settings.gateway, settings.registry, as_json=as_json))


@app.command(rich_help_panel="Use")
def chat(
    model: ModelArgument = None,
    message: Annotated[
        str | None,
        typer.Option(
            "--message", "-m", metavar="TEXT", help="Ask this and leave, instead of a conversation."
        ),
    ] = None,
    system: Annotated[
        str | None, typer.Option("--system", "-s", metavar="TEXT", help="Standing instructions.")
    ] = None,
    temperature: Annotated[
        float | None, typer.Option("--temperature", "-t", help="0 to 2; 0 takes the likeliest token.")
    ] = None,
    top_p: Annotated[float | None, typer.Option(help="Keep the likeliest tokens up to this share.")] = None,
    max_tokens: Annotated[
        int | None, typer.Option(min=1, max=2**32 - 1, help="Most tokens in an answer.")
    ] = None,
    seed: Annotated[
        int | None, typer.Option(min=0, max=2**64 - 1, help="Draw the same answer again.")
    ] = None,
    gateway: Gateway = None,
) -> None:
    """Talk to a model, streamed over gRPC.

    Examples:

    ```
    inferloom chat
    inferloom chat -m "What is the capital of France?" --temperature 0
    cat notes.txt | inferloom chat --system "Summarise this."
    ```
    """
    from inferloom.v1.inference_pb2 import SamplingOptions, StoppingOptions
    from inferloom_cli import chat as talk
    from inferloom_cli.conversation import Manner
    from inferloom_cli.settings import ClientSettings, load

    address = load(ClientSettings, gateway=gateway).gateway
    manner = Manner(
        system,
        SamplingOptions(temperature=temperature, top_p=top_p, seed=seed),
        StoppingOptions(max_tokens=max_tokens),
    )
    if message is None and not sys.stdin.isatty():
        message = sys.stdin.read()
    if message is not None and not message.strip():
        raise RefusedError("the message is empty", MISUSED)
    if message is None:
        talk.converse(address, model, manner)
    else:
        talk.say(address, model, message, manner)


@app.command(rich_help_panel="Use")
def embed(
    texts: Annotated[list[str], typer.Argument(metavar="TEXT…", help="What to embed.")],
    model: Annotated[
        str | None,
        typer.Option("--model", "-m", metavar="MODEL", help="Model id. [default: the first that can embed]"),
    ] = None,
    dimensions: Annotated[
        int | None, typer.Option(min=1, max=2**32 - 1, help="Length of the vectors.")
    ] = None,
    as_json: AsJson = False,
    gateway: Gateway = None,
) -> None:
    """Turn texts into vectors: a preview on a terminal, JSON into a pipe.

    Examples:

    ```
    inferloom embed "a cat" "a kitten"
    inferloom embed "a cat" --json > vectors.json
    ```
    """
    from inferloom_cli import embed as vectors
    from inferloom_cli.settings import ClientSettings, load

    address = load(ClientSettings, gateway=gateway).gateway
    whole = as_json or not sys.stdout.isatty()
    asyncio.run(vectors.embed(address, model, texts, dimensions=dimensions, as_json=whole))


@app.command(rich_help_panel="Use")
def pull(
    specs: Annotated[
        list[str], typer.Argument(metavar="SPEC…", help="Demo model ids or hub ids.", show_default=False)
    ],
) -> None:
    """Fetch models to this machine, so that a worker which serves them starts at once.

    Demo models: smollm2-135m-instruct, all-minilm-l6-v2.
    """
    from inferloom_cli.pull import pull as fetch

    fetch(specs)


@app.command(rich_help_panel="Use")
def bench(
    url: Annotated[
        str, typer.Argument(metavar="[URL]", help="Base URL of any OpenAI-compatible API.")
    ] = "http://127.0.0.1:8000/v1",
    model: Annotated[
        str | None,
        typer.Option("--model", "-m", metavar="MODEL", help="Model id. [default: the first that fits]"),
    ] = None,
    api: Annotated[
        BenchApi, typer.Option(help="What to ask for; `embeddings` counts texts instead of tokens.")
    ] = "chat",
    concurrency: Annotated[
        str, typer.Option("--concurrency", "-c", metavar="N,…", help="Clients at once, one run each.")
    ] = "1,8,32",
    requests: Annotated[
        int | None, typer.Option(min=1, help="Requests in a run. [default: two for each client]")
    ] = None,
    tokens: Annotated[int, typer.Option(min=1, help="Most output tokens of a request.")] = 128,
    prompt_tokens: Annotated[
        int | None, typer.Option(min=1, help="About how long each prompt is. [default: about 40]")
    ] = None,
    shared_prefix: Annotated[
        int, typer.Option(min=0, metavar="TOKENS", help="About how long a system prompt all requests share.")
    ] = 0,
    batch: Annotated[int, typer.Option(min=1, help="Texts in an embedding request.")] = 1,
    temperature: Annotated[
        float, typer.Option("--temperature", "-t", help="0 to 2; 0 takes the likeliest token.")
    ] = 0.0,
    ignore_eos: Annotated[
        bool,
        typer.Option("--ignore-eos", help="Ask for exactly --tokens tokens; not every server knows how."),
    ] = False,
    keep_alive: Annotated[bool, typer.Option(help="Keep connections, or open one for each request.")] = True,
    timeout: Annotated[float, typer.Option(min=1, help="Longest that a request may take, in seconds.")] = 600,
    json_file: Annotated[
        Path | None,
        typer.Option("--json", metavar="FILE", help="Write the numbers as JSON; `-`: print them."),
    ] = None,
    plot: Annotated[
        Path | None, typer.Option(metavar="FILE.svg", dir_okay=False, help="Draw the numbers.")
    ] = None,
    key: Annotated[
        str | None, typer.Option(metavar="KEY", envvar="INFERLOOM_API_KEY", help="API key to send.")
    ] = None,
) -> None:
    """Measure how fast a server answers, under a closed loop of streaming clients.

    Shown are tokens and requests per second, the time to the first token (TTFT) and between tokens (ITL).

    Examples:

    ```
    inferloom bench
    inferloom bench http://127.0.0.1:8080/v1 --concurrency 1,8,32,64 --plot speed.svg
    inferloom bench --shared-prefix 1000 -c 32
    inferloom bench --api embeddings -c 4 --batch 32
    ```
    """
    from inferloom_cli import bench as measuring
    from inferloom_cli.benchmark.load import Load

    load = Load(
        model=model or "",
        api=api,
        requests=requests,
        tokens=tokens,
        prompt_tokens=prompt_tokens,
        shared_prefix=shared_prefix,
        batch=batch,
        temperature=temperature,
        ignore_eos=ignore_eos,
        keep_alive=keep_alive,
        timeout=timeout,
    )
    levels = measuring.levels_of(concurrency)
    measuring.bench(url, key, model, load, levels, measuring.Output(json_file, plot))
