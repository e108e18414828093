"""``inferloom bench``: how fast any OpenAI-compatible server answers."""

import asyncio
import json
import ssl
from collections.abc import Callable, Coroutine, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TypeVar

from inferloom_cli.refusal import MISUSED, RefusedError, needs, writable

with needs("all"):
    from inferloom_cli.benchmark.connection import HttpError
    from inferloom_cli.benchmark.listing import choose_model, get
    from inferloom_cli.benchmark.loop import run
from inferloom_cli.benchmark.endpoint import Endpoint
from inferloom_cli.benchmark.load import Load
from inferloom_cli.benchmark.plot import plot
from inferloom_cli.benchmark.summary import Summary
from inferloom_cli.benchmark.table import table
from inferloom_cli.credentials import as_header
from inferloom_cli.terminal import terminal

T = TypeVar("T")

STDOUT = Path("-")


@dataclass(frozen=True, slots=True)
class Output:
    """Where the numbers go, beside the terminal."""

    json: Path | None = None
    """A file; ``-`` is standard output, in the table's place."""
    plot: Path | None = None


def bench(
    url: str,
    key: str | None,
    authorities: Path | None,
    model: str | None,
    load: Load,
    levels: Sequence[int],
    output: Output,
) -> None:
    """Measure ``load`` with each number of clients in turn, and show what came of it; ``authorities`` are in
    the place of the system's. Of what is interrupted, the levels that were over are shown.

    Raises:
        RefusedError: Nothing answers there, there is no such model, or a request failed.
    """
    try:
        endpoint = Endpoint.parse(url, key and as_header(key), authorities)
    except OSError as failure:
        raise RefusedError(f"{authorities}: holds no certificates: {failure.strerror}", MISUSED) from failure
    except ValueError as wrong:
        raise RefusedError(str(wrong), MISUSED) from wrong
    for file in (output.json, output.plot):
        if file is not None and file != STDOUT and not file.parent.is_dir():
            raise RefusedError(f"{file.parent} is no folder", MISUSED)
    console = terminal(stderr=True)
    summaries: list[Summary] = []

    chosen = load

    async def measure_all() -> None:
        nonlocal chosen
        chosen = replace(load, model=model or await first_model(endpoint, load))
        await warm_up(endpoint, chosen)
        number = chosen.first
        for clients in levels:
            console.print(f"{clients} {'client' if clients == 1 else 'clients'} …", style="dim")
            summaries.append(await measure(endpoint, replace(chosen, clients=clients, first=number)))
            number += summaries[-1].requests  # no prompt twice, so no level finds the last one's cached

    try:
        run_fast(measure_all)
    except KeyboardInterrupt:
        if summaries:  # what was measured whole was measured
            report(url, chosen, summaries, output)
        raise
    report(url, chosen, summaries, output)
    if first := next((summary.first_error for summary in summaries if summary.first_error), None):
        raise RefusedError(f"{sum(s.failed for s in summaries)} requests failed, the first with: {first}")


def report(url: str, load: Load, summaries: Sequence[Summary], output: Output) -> None:
    """Show the summaries, and write the files that were asked for."""
    numbers = {
        "url": url,
        "load": {k: v for k, v in asdict(load).items() if k not in {"clients", "first"}},
        "levels": [asdict(summary) for summary in summaries],
    }
    if output.json == STDOUT:
        print(json.dumps(numbers, indent=2))
    else:
        terminal().print(table(summaries, load.api))
    if output.json is not None and output.json != STDOUT:
        with writable("the numbers", output.json, "they stand above"):
            output.json.write_text(json.dumps(numbers, indent=2) + "\n")
    if output.plot is not None:
        with writable("the drawing", output.plot, "the numbers stand above"):
            output.plot.write_text(plot(summaries, load.api, f"{load.model} at {url}"), encoding="utf-8")


async def measure(endpoint: Endpoint, load: Load) -> Summary:
    """Put one load on a server and sum it up."""
    return Summary.of(load.clients, *await run(endpoint, load))


async def warm_up(endpoint: Endpoint, load: Load) -> None:
    """Send one short request, for whatever the server makes at its first; no later prompt is like it."""
    short = replace(
        load, clients=1, requests=1, tokens=min(load.tokens, 4), prompt_tokens=None, shared_prefix=0, first=-1
    )
    await run(endpoint, short)


async def first_model(endpoint: Endpoint, load: Load) -> str:
    """The first model that the server has for the load's API.

    Raises:
        RefusedError: There is none, or nothing answers there.
    """
    where = f"{endpoint.scheme}://{endpoint.host}:{endpoint.port}{endpoint.path}"
    try:
        name = choose_model(await get(endpoint, "models"), load.api)
    except TimeoutError as failure:
        raise RefusedError(f"{where}/models did not answer in time") from failure
    except ssl.SSLCertVerificationError as failure:
        trusted = "--cacert FILE names whom to trust, such as mesh/ca.crt"
        raise RefusedError(f"{where} is not trusted: {failure.verify_message} – {trusted}") from failure
    except ssl.SSLError as failure:
        raise RefusedError(f"{where} does not speak TLS: {failure.reason}") from failure
    except OSError as failure:
        raise RefusedError(f"no server at {where} – start one with `inferloom up`") from failure
    except (HttpError, ValueError) as failure:
        instead = _instead(failure.status if isinstance(failure, HttpError) else 0, endpoint)
        raise RefusedError(f"{where}/models: {failure} – name {instead}") from failure
    if name is None:
        raise RefusedError(f"no model for {load.api} is served at {where}")
    return name


def _instead(status: int, endpoint: Endpoint) -> str:
    """What to name where the list of models was refused with a status; 0: it could not be read."""
    if status == 401:
        return "a key with --api-key or INFERLOOM_API_KEY"
    if status == 404 and endpoint.path in ("", "/"):
        return "the base URL of its API, which often ends in /v1"
    return "a model with --model"


def run_fast(main: Callable[[], Coroutine[None, None, T]]) -> T:
    """Run ``main`` on the cheapest event loop at hand."""
    factory = None
    with suppress(ImportError):
        import uvloop

        factory = uvloop.new_event_loop
    with asyncio.Runner(loop_factory=factory) as runner:
        return runner.run(main())


def levels_of(text: str) -> tuple[int, ...]:
    """Read numbers of clients such as ``1,8,32``.

    Raises:
        RefusedError: It is something else.
    """
    try:
        levels = tuple(int(part) for part in text.split(","))
    except ValueError:
        levels = ()
    if not levels or not all(1 <= level <= 4096 for level in levels):
        raise RefusedError(f"--concurrency takes numbers of clients such as 1,8,32, not {text!r}", MISUSED)
    return levels
