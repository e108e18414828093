"""The commands that use models, or fetch them."""

import asyncio
import sys
from typing import TYPE_CHECKING, Annotated

import typer

from inferloom_cli.options import (
    ApiKey,
    AsJson,
    Gateway,
    ModelArgument,
    ModelOption,
    Quantize,
    Threads,
)
from inferloom_cli.refusal import MISUSED, RefusedError

if TYPE_CHECKING:
    from inferloom_cli.conversation import Manner
    from inferloom_cli.credentials import Credentials
    from inferloom_mesh.net import Address

DEMO = "smollm2-135m-instruct"
"""What `run` talks to where nobody says."""

Message = Annotated[
    str | None,
    typer.Option("--message", "-m", metavar="TEXT", help="Ask this and leave, instead of a conversation."),
]
System = Annotated[str | None, typer.Option("--system", "-s", metavar="TEXT", help="Standing instructions.")]
Temperature = Annotated[
    float | None, typer.Option("--temperature", "-t", help="0 to 2; 0 takes the likeliest token.")
]
TopP = Annotated[float | None, typer.Option(help="Keep the likeliest tokens up to this share.")]
MaxTokens = Annotated[int | None, typer.Option(min=1, max=2**32 - 1, help="Most tokens in an answer.")]
Seed = Annotated[int | None, typer.Option(min=0, max=2**64 - 1, help="Draw the same answer again.")]


def run(
    model: Annotated[
        str | None,
        typer.Argument(
            metavar="[MODEL]",
            help="A demo model id, a GGUF file, a folder, a hub id, or a model that is served. "
            "[default: smollm2-135m-instruct]",
            show_default=False,
        ),
    ] = None,
    message: Message = None,
    system: System = None,
    temperature: Temperature = None,
    top_p: TopP = None,
    max_tokens: MaxTokens = None,
    seed: Seed = None,
    quantize: Quantize = None,
    threads: Threads = None,
    gateway: Gateway = None,
    api_key: ApiKey = None,
    named: ModelOption = None,
) -> None:
    """Fetch a model, serve it while you talk to it, and talk to it.

    A running mesh that serves a model of that name is asked instead. What is started ends when you leave.

    Examples:

    ```
    inferloom run
    inferloom run ./tiny.gguf -m "What is the capital of France?"
    inferloom run Qwen/Qwen3-0.6B --quantize int8
    ```
    """
    from inferloom_cli import chat as talk
    from inferloom_cli.client_settings import ClientSettings
    from inferloom_cli.run import run as serve
    from inferloom_cli.settings import load
    from inferloom_cli.up_flags import alone

    asked, manner = _asked(message, system, temperature, top_p, max_tokens, seed)

    def talking(address: "Address", chosen: str, shown: "Credentials") -> None:
        if asked is None:
            talk.converse(address, chosen, manner, shown)
        else:
            talk.say(address, chosen, asked, manner, shown)

    flags = alone(_one_of(model, named) or DEMO, quantize, threads)
    serve(flags, api_key, load(ClientSettings, gateway=gateway), talking)


def chat(
    model: ModelArgument = None,
    message: Message = None,
    system: System = None,
    temperature: Temperature = None,
    top_p: TopP = None,
    max_tokens: MaxTokens = None,
    seed: Seed = None,
    gateway: Gateway = None,
    api_key: ApiKey = None,
    named: ModelOption = None,
) -> None:
    """Talk to a model, streamed over gRPC.

    Examples:

    ```
    inferloom chat
    inferloom chat -m "What is the capital of France?" --temperature 0
    cat notes.txt | inferloom chat --system "Summarise this."
    ```
    """
    from inferloom_cli import chat as talk
    from inferloom_cli.client_settings import ClientSettings
    from inferloom_cli.credentials import of_caller
    from inferloom_cli.settings import load

    settings = load(ClientSettings, gateway=gateway)
    address, shown, model = settings.gateway, of_caller(settings, api_key), _one_of(model, named)
    asked, manner = _asked(message, system, temperature, top_p, max_tokens, seed)
    if asked is None:
        talk.converse(address, model, manner, shown)
    else:
        talk.say(address, model, asked, manner, shown)


def _one_of(argument: str | None, option: str | None) -> str | None:
    """The model, however it was named.

    Raises:
        RefusedError: Two were.
    """
    if argument and option and argument != option:
        raise RefusedError(f"one model at a time: {argument} or {option}", MISUSED)
    return argument or option


def _asked(
    message: str | None,
    system: str | None,
    temperature: float | None,
    top_p: float | None,
    max_tokens: int | None,
    seed: int | None,
) -> "tuple[str | None, Manner]":
    """One message, typed or from a pipe, or None for a conversation; and how to answer.

    Raises:
        RefusedError: The message is empty, or no text.
    """
    from inferloom.v1.inference_pb2 import SamplingOptions, StoppingOptions
    from inferloom_cli.conversation import Manner

    manner = Manner(
        system,
        SamplingOptions(temperature=temperature, top_p=top_p, seed=seed),
        StoppingOptions(max_tokens=max_tokens),
    )
    try:
        if message is None and not sys.stdin.isatty():
            message = sys.stdin.read()
        for text in (message, system):
            (text or "").encode()  # what was no UTF-8 when it was typed cannot be written as such
    except (UnicodeDecodeError, UnicodeEncodeError) as wrong:
        raise RefusedError(f"only text in UTF-8 can be asked: {wrong.reason}", MISUSED) from wrong
    if message is not None and not message.strip():
        raise RefusedError("the message is empty", MISUSED)
    return message, manner


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
    api_key: ApiKey = None,
) -> None:
    """Turn texts into vectors: a preview on a terminal, JSON into a pipe.

    Examples:

    ```
    inferloom embed "a cat" "a kitten"
    inferloom embed "a cat" --json > vectors.json
    ```
    """
    from inferloom_cli import embed as vectors
    from inferloom_cli.client_settings import ClientSettings
    from inferloom_cli.credentials import of_caller
    from inferloom_cli.settings import load

    settings = load(ClientSettings, gateway=gateway)
    whole, shown = as_json or not sys.stdout.isatty(), of_caller(settings, api_key)
    embedding = vectors.embed(
        settings.gateway, model, texts, dimensions=dimensions, as_json=whole, shown=shown
    )
    asyncio.run(embedding)


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
