"""The works that the sides do, and what is measured of each."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from math import ceil
from subprocess import CalledProcessError
from urllib.parse import urlsplit

from inferloom_cli.bench import measure
from inferloom_cli.benchmark.endpoint import Endpoint
from inferloom_cli.benchmark.load import Load
from inferloom_cli.benchmark.summary import Summary
from peers.linkload import Said, ask
from peers.sides import FailedRequestsError, Figures, Running, Wants
from peers.stall import stall

_LEAST_S = 2.0
"""How long a load runs that tells a rate, in seconds."""


@dataclass(frozen=True, slots=True)
class Work:
    """A load, or several in turn."""

    wants: Wants
    measure: Callable[[Running, int], Awaitable[Figures]]
    """Puts it on a server. The number says where prompts begin: no two rounds send the same."""


async def summarise(running: Running, load: Load) -> Summary:
    """Put a load on a server, where nothing may fail."""
    load = replace(load, model=running.model)
    summary = await measure(Endpoint.parse(running.url, running.key), load)
    if summary.failed:
        raise FailedRequestsError(f"{summary.failed} requests failed: {summary.first_error}")
    return summary


def _ms(value: float | None) -> float:
    if value is None:
        raise FailedRequestsError("no text came")
    return value


async def first_text(running: Running) -> float:
    """Seconds from the first request of all to its first text."""
    return _ms((await summarise(running, Load("", requests=1, tokens=8, first=-2000))).ttft_p50_ms) / 1e3


async def warm_up(running: Running, wants: Wants) -> None:
    """Let the server make whatever it makes at its first requests; no later prompt is like these."""
    if wants.task == "embed":
        await summarise(running, Load("", api="embeddings", clients=4, requests=8, first=-1000))
    else:
        clients = min(wants.streams, 32)
        await summarise(running, Load("", clients=clients, requests=clients, tokens=8, first=-1000))


async def chat(running: Running, first: int) -> Figures:
    """Short prompts, 128 tokens, 1 to 64 streams."""
    figures: Figures = {}
    for streams in (1, 8, 32, 64):
        # A second wave tells more of a few streams; of many it would only make the round longer.
        load = Load("", clients=streams, requests=max(3, streams, min(2 * streams, 16)), ignore_eos=True)
        summary = await summarise(running, replace(load, first=first + 1000 * streams))
        figures[f"tok/s at {streams}"] = summary.tokens_per_s
        figures[f"TTFT p50 at {streams}, ms"] = _ms(summary.ttft_p50_ms)
        figures[f"ITL p99 at {streams}, ms"] = _ms(summary.itl_p99_ms)
    return figures


async def prefix(running: Running, first: int) -> Figures:
    """32 streams that share a system prompt of 1,000 tokens, which an earlier request has sent too."""
    load = Load("", shared_prefix=1000, ignore_eos=True, first=first)
    await summarise(running, replace(load, requests=1, tokens=2, first=first + 999))
    summary = await summarise(running, replace(load, clients=32, requests=64))
    return {
        "tok/s": summary.tokens_per_s,
        "TTFT p50, ms": _ms(summary.ttft_p50_ms),
        "(cached share of prompts)": summary.cached_tokens / max(summary.prompt_tokens, 1),
    }


async def prefill(running: Running, first: int) -> Figures:
    """One prompt of 2,000 tokens at a time, one token of answer."""
    load = Load("", requests=3, tokens=1, prompt_tokens=2000, first=first)
    summary = await summarise(running, load)
    fresh = (summary.prompt_tokens - summary.cached_tokens) / summary.requests
    seconds = _ms(summary.latency_p50_ms) / 1e3  # the one token may have no text
    return {"prompt tok/s": fresh / seconds, "(prompt tokens)": fresh}


async def embed(running: Running, first: int) -> Figures:
    """Texts of 8 to 64 words: one by one, from 32 clients, and in batches."""
    figures: Figures = {}
    for clients, batch, requests in ((1, 1, 100), (32, 1, 400), (4, 32, 24)):
        load = Load("", api="embeddings", clients=clients, batch=batch, requests=requests, first=first)
        summary = await summarise(running, load)
        figures[f"inputs/s, {clients} × {batch}"] = summary.inputs_per_s
    return figures


async def proxy(running: Running, first: int) -> Figures:
    """Requests of 1 and of 128 tokens from 32 clients, and the wait for text at 1 client, by the client in C.

    The wait is over the upstream's own where there is one. Some proxies wait for the client's acknowledgement
    before they send on over a connection that is not new, so both kinds of connection are measured. Tokens
    come one by one; those that are all ready at once are shown apart.
    """
    return await asyncio.to_thread(_proxy, running, first)


def _proxy(running: Running, first: int) -> Figures:
    figures: Figures = {}
    for kept, kind in ((False, "new"), (True, "kept")):
        figures |= {
            f"{kind} connections: req/s, 1 token": _rate(running, first, 1, 200, kept=kept),
            f"{kind} connections: tok/s, 128 tokens": 128 * _rate(running, first, 128, 64, kept=kept),
            f"{kind} connections: added TTFT p50 at 1, ms": _added_ms(running, first, kept=kept),
        }
        if running.at_once is not None:
            merged = replace(running, model=running.at_once)
            tokens = 128 * _rate(merged, first, 128, 64, kept=kept, merged=True)
            figures[f"({kind} connections: tok/s, tokens that are ready at once)"] = tokens
    return figures


def _added_ms(running: Running, first: int, *, kept: bool) -> float:
    """The median wait for text of one client, over the upstream's own."""

    def wait(side: Running) -> float:
        # echo's first token has no text
        return _asked(side, first, 2, clients=1, requests=200, kept=kept).first_p50_ms

    return wait(running) - (0.0 if running.behind is None else wait(replace(running, url=running.behind)))


def _rate(
    running: Running, first: int, tokens: int, requests: int, *, kept: bool, merged: bool = False
) -> float:
    """Requests a second of 32 clients, of so many that they take a while; the first are ``requests``."""
    while True:
        said = _asked(running, first, tokens, clients=32, requests=requests, kept=kept)
        if said.events < requests * tokens and not merged:
            raise FailedRequestsError(f"{requests} requests of {tokens} tokens had {said.events} events")
        if said.seconds >= _LEAST_S:
            return requests / said.seconds
        requests = ceil(requests * min(10.0, 1.5 * _LEAST_S / said.seconds))


def _asked(running: Running, first: int, tokens: int, *, clients: int, requests: int, kept: bool) -> Said:
    body = Load(running.model, tokens=tokens, first=first).body(0)
    try:
        return ask(urlsplit(running.url).netloc, body, clients, requests, kept=kept, key=running.key)
    except CalledProcessError:
        raise FailedRequestsError("a request failed; the client in C has said why") from None


WORKS = {
    "chat": Work(Wants(streams=64, context=512), chat),
    "prefix": Work(Wants(streams=32, context=1536), prefix),
    "prefill": Work(Wants(streams=1, context=4096), prefill),
    "stall": Work(Wants(streams=17, context=6144), stall),
    "embed": Work(Wants("embed", streams=32), embed),
    "proxy": Work(Wants("proxy", streams=32), proxy),
}
