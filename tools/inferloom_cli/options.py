"""Flags that several commands share. A flag that is not typed is None, so that settings decide."""

from pathlib import Path
from typing import Annotated, Literal

import typer

Registry = Annotated[
    str | None,
    typer.Option(
        "--registry",
        metavar="HOST:PORT,…",
        envvar="INFERLOOM_REGISTRY",
        help="Where the registry is, or the registries that share an etcd. [default: 127.0.0.1:7000]",
    ),
]
Gateway = Annotated[
    str | None,
    typer.Option(
        "--gateway",
        metavar="HOST:PORT",
        envvar="INFERLOOM_GATEWAY",
        help="Where the gateway's gRPC port is. [default: 127.0.0.1:9000]",
    ),
]
ModelFlags = Annotated[
    list[str] | None,
    typer.Option(
        "--model",
        "-m",
        metavar="NAME=SPEC",
        help="A model to serve; repeat it for more. SPEC is a demo model id, a GGUF file, a folder with "
        "safetensors, a hub id, or `echo`; ENGINE:SPEC says "
        "what computes it.",
    ),
]
AdapterFlags = Annotated[
    list[str] | None,
    typer.Option(
        "--adapter",
        "-a",
        metavar="NAME=BASE=SPEC",
        help="A LoRA adapter to serve as NAME, on the model BASE; repeat it for more. SPEC is a folder as "
        "peft saves it, or a hub id.",
    ),
]
Strict = Annotated[
    bool | None,
    typer.Option(
        "--strict",
        help="Refuse request fields that nobody knows. [default: ignore them, and name them in a header]",
    ),
]
GenerationConfig = Annotated[
    str | None,
    typer.Option(
        "--generation-config",
        metavar="auto|openai",
        envvar="INFERLOOM_GENERATION_CONFIG",
        help="Where temperature, top_p, top_k, min_p and repetition_penalty come from when a request is "
        "silent: the model's own files, or OpenAI's defaults. [default: auto, the model's]",
    ),
]
Quantize = Annotated[
    str | None,
    typer.Option(
        metavar="TYPE",
        envvar="INFERLOOM_QUANTIZE",
        help="Round full-precision models to int8 or int4 when they are loaded.",
    ),
]
Threads = Annotated[
    int | None,
    typer.Option(
        min=1,
        envvar="INFERLOOM_THREADS",
        help="Threads that a worker computes on, on the CPU. [default: one for each core]",
    ),
]
Speculation = Annotated[
    str | None,
    typer.Option(
        metavar="auto|off|N",
        envvar="INFERLOOM_SPECULATION",
        help="Guess up to N tokens of an answer from its own text and check them in one step. "
        "[default: auto, as many as make it faster]",
    ),
]
Cors = Annotated[
    str | None,
    typer.Option(
        metavar="ORIGIN,…",
        envvar="INFERLOOM_CORS",
        help="Web pages that may call REST from a browser, by their origin; `*`: all. [default: none]",
    ),
]
StoreFolder = Annotated[
    Path | None,
    typer.Option(
        "--store",
        metavar="FOLDER",
        envvar="INFERLOOM_STORE",
        file_okay=False,
        help="Where files, batches and stored answers are kept. [default: in the user's data folder]",
    ),
]
NoStore = Annotated[
    bool | None, typer.Option("--no-store", help="Store nothing: no files, batches or stored answers.")
]
AliasFlags = Annotated[
    list[str] | None,
    typer.Option(
        "--alias",
        metavar="NAME=MODEL",
        help="A further name for one of the models or adapters, which takes no memory; repeat it for more.",
    ),
]
Keys = Annotated[
    str | None,
    typer.Option(
        "--keys",
        metavar="FILE|redis://…",
        envvar="INFERLOOM_KEYS",
        help="Ask callers for API keys, which are kept there; see `inferloom keys`. [default: ask nobody]",
    ),
]
ApiKey = Annotated[
    str | None,
    typer.Option(
        "--api-key",
        metavar="KEY",
        envvar=["INFERLOOM_API_KEY", "OPENAI_API_KEY"],
        show_envvar=True,
        help="API key to show the gateway, where it asks for one.",
    ),
]
Tls = Annotated[
    Path | None,
    typer.Option(
        "--tls",
        metavar="FOLDER",
        envvar="INFERLOOM_TLS",
        file_okay=False,
        help="Speak TLS with the mesh: a folder with tls.crt, tls.key and ca.crt; see `inferloom certs`. "
        "[default: nothing is encrypted]",
    ),
]
Insecure = Annotated[
    bool | None,
    typer.Option(
        "--insecure",
        help="Listen beyond this machine although nothing is encrypted, or nobody is asked who he is.",
    ),
]
Certs = Annotated[
    Path | None,
    typer.Option(
        "--certs",
        metavar="DIR",
        file_okay=False,
        help="Speak TLS everywhere: a folder that `inferloom certs` made, with a certificate for each "
        "service. [default: nothing is encrypted]",
    ),
]
Allow = Annotated[
    str | None,
    typer.Option(
        "--allow",
        metavar="NETWORK,…",
        envvar="INFERLOOM_ALLOW",
        help="Networks that callers must be in, such as 10.0.0.0/8. [default: any]",
    ),
]
TrustedProxies = Annotated[
    str | None,
    typer.Option(
        "--trusted-proxies",
        metavar="NETWORK,…",
        envvar="INFERLOOM_TRUSTED_PROXIES",
        help="Networks of proxies whose word is taken for callers' addresses. [default: nobody's]",
    ),
]
BehindProxy = Annotated[
    bool | None,
    typer.Option(
        "--behind-proxy", help="Listen beyond this machine without TLS: a proxy does it, and asks who calls."
    ),
]
ToolFormat = Annotated[
    str | None,
    typer.Option(
        "--tool-format",
        metavar="FORMAT",
        envvar="INFERLOOM_TOOL_FORMAT",
        help="How models write calls of functions, or MODEL=FORMAT,… for some. "
        "[default: as their chat templates show]",
    ),
]
ReasoningFormat = Annotated[
    str | None,
    typer.Option(
        "--reasoning-format",
        metavar="FORMAT",
        envvar="INFERLOOM_REASONING_FORMAT",
        help="How models mark reasoning, or MODEL=FORMAT,… for some; none: not at all. "
        "[default: as their chat templates show]",
    ),
]
Zone = Annotated[
    str | None,
    typer.Option(
        "--zone",
        metavar="NAME",
        envvar="INFERLOOM_ZONE",
        help="Where it is, such as a data centre; gateways prefer workers of their own. [default: nowhere]",
    ),
]
LogLevel = Annotated[
    str | None,
    typer.Option(
        "--log-level",
        metavar="LEVEL",
        envvar="INFERLOOM_LOG_LEVEL",
        help="debug, info, warning or error. [default: info]",
    ),
]
LogFormat = Annotated[
    str | None,
    typer.Option(
        "--log-format",
        metavar="text|json",
        envvar="INFERLOOM_LOG_FORMAT",
        help="Write log lines for people, or one JSON object a line. [default: text]",
    ),
]
MetricsListen = Annotated[
    str | None,
    typer.Option(
        "--metrics-listen",
        metavar="HOST:PORT|none",
        help="Where Prometheus reads /metrics. [default: 127.0.0.1, port 9100 for the gateway, 9101 for the "
        "registry, and from 9102 on for workers]",
    ),
]
ReadyFile = Annotated[
    Path | None,
    typer.Option(
        "--ready-file",
        metavar="FILE",
        dir_okay=False,
        help="Write a JSON object with the addresses to FILE once everything is ready. For scripts.",
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]
OnWorkers = Annotated[
    list[str] | None,
    typer.Option(
        "--worker", "-w", metavar="NAME", help="Only on this worker; repeat it for more. [default: on all]"
    ),
]
ModelArgument = Annotated[
    str | None,
    typer.Argument(metavar="[MODEL]", help="Model id. [default: the first that fits]", show_default=False),
]
ModelOption = Annotated[str | None, typer.Option("--model", metavar="MODEL", hidden=True)]
"""The argument by the name that it has in other commands."""

BenchApi = Literal["chat", "completions", "embeddings"]
"""What `bench` can ask for; named here too, so that `--help` imports nothing of it."""
