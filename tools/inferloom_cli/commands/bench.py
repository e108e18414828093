"""The command that measures a server."""

from pathlib import Path
from typing import Annotated

import typer

from inferloom_cli.options import (
    BenchApi,
)


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
        str | None,
        typer.Option(
            "--api-key",
            "--key",
            metavar="KEY",
            envvar=["INFERLOOM_API_KEY", "OPENAI_API_KEY"],
            help="API key to send.",
        ),
    ] = None,
    cacert: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            dir_okay=False,
            help="Authorities that the server's certificate may be from. [default: the system's]",
        ),
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
    measuring.bench(url, key, cacert, model, load, levels, measuring.Output(json_file, plot))
