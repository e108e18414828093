"""Count what a served model's calls come to: random sets of tools, asked for in every way, streamed and not.

Usage: python tools/dev/check_tools.py URL [--model NAME] [--sets N] [--tokens N] [--at-once N] [--seed N]

URL is where OpenAI clients are pointed, such as http://127.0.0.1:8000/v1. Of finished calls it counts those
that are no JSON, name no given tool or have arguments that do not validate, and the answers that differ
between streamed and not; any of these makes the exit status 1, and so does a share of finished answers below
95 %, of those with calls where none must be.
"""

import argparse
import asyncio
import sys
import time
from typing import Any

from openai import AsyncOpenAI
from rich.console import Console
from rich.table import Table
from toolsets.sets import tool_set
from toolsets.verdict import Said, Tally

MODES = ("required", "named", "parallel", "single", "auto")
LEAST_FINISHED = 0.95

_HELLO = "I need some help with my order and the weather."


def body(mode: str, tools: list[dict[str, Any]], seed: int) -> dict[str, Any]:
    """What is asked in one way."""
    first = tools[seed % len(tools)]
    kind, name = first["type"], first[first["type"]]["name"]
    asked: dict[str, Any] = {"tools": tools, "seed": seed, "messages": [{"role": "user", "content": _HELLO}]}
    match mode:
        case "named":
            asked["tool_choice"] = {"type": kind, kind: {"name": name}}
        case "parallel":
            asked |= {"tool_choice": "required", "parallel_tool_calls": True}
        case "single":
            asked |= {"tool_choice": "required", "parallel_tool_calls": False}
        case "auto":
            asked |= {"tool_choice": "auto", "messages": _example(kind, name)}
        case _:
            asked["tool_choice"] = "required"
    return asked


def _example(kind: str, name: str) -> list[dict[str, Any]]:
    """A conversation in which there were calls, so that a small model makes another."""
    turns: list[dict[str, Any]] = []
    given = {"name": name, "input": "1 + 1"} if kind == "custom" else {"name": name, "arguments": "{}"}
    for count in range(5):
        call = {"id": f"call_{count}", "type": kind, kind: given}
        turns.append({"role": "user", "content": "Use the tool."})
        turns.append({"role": "assistant", "content": None, "tool_calls": [call]})
        turns.append({"role": "tool", "tool_call_id": f"call_{count}", "content": "Done."})
    return [*turns, {"role": "user", "content": "Use the tool."}]


async def whole(client: AsyncOpenAI, asked: dict[str, Any]) -> Said:
    """The answer in one body."""
    answer = await client.chat.completions.create(**asked)
    choice = answer.choices[0]
    calls = [call.model_dump() for call in choice.message.tool_calls or ()]
    return Said(
        choice.message.content or "",
        tuple(_call(call) for call in calls),
        tuple(call["id"] for call in calls),
        choice.finish_reason,
    )


async def streamed(client: AsyncOpenAI, asked: dict[str, Any]) -> Said:
    """The answer put together of its chunks."""
    text, finish = "", ""
    calls: list[dict[str, Any]] = []
    async for chunk in await client.chat.completions.create(**asked, stream=True):
        for choice in chunk.choices:
            text += choice.delta.content or ""
            finish = choice.finish_reason or finish
            for part in choice.delta.tool_calls or ():
                if part.index == len(calls):
                    calls.append({"id": part.id, "name": "", "given": ""})
                made = part.model_dump()
                of = made.get("custom") or made["function"]
                calls[part.index]["name"] += of.get("name") or ""
                calls[part.index]["given"] += of.get("input") or of.get("arguments") or ""
    made = tuple((call["name"], call["given"]) for call in calls)
    return Said(text, made, tuple(call["id"] for call in calls), finish)


def _call(call: dict[str, Any]) -> tuple[str, str]:
    if call["type"] == "custom":
        return call["custom"]["name"], call["custom"]["input"]
    return call["function"]["name"], call["function"]["arguments"]


async def check(given: argparse.Namespace) -> dict[str, Tally]:
    """Ask for everything, so many at once."""
    tallies = {mode: Tally() for mode in given.modes}
    places = asyncio.Semaphore(given.at_once)
    async with AsyncOpenAI(base_url=given.url, api_key="none", max_retries=10, timeout=3600) as client:

        async def one(seed: int, mode: str) -> None:
            tools = tool_set(seed)
            asked = body(mode, tools, seed) | {
                "model": given.model,
                "max_tokens": given.tokens,
                "temperature": 1,
            }
            async with places:
                tallies[mode].add(mode, tools, await whole(client, asked), await streamed(client, asked))

        await asyncio.gather(*(one(given.seed + i, mode) for i in range(given.sets) for mode in given.modes))
    return tallies


def main() -> None:
    """Check, and print a table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("url")
    parser.add_argument("--model", default="smollm2-135m-instruct")
    parser.add_argument("--modes", nargs="+", choices=MODES, default=MODES)
    parser.add_argument("--sets", type=int, default=200)
    parser.add_argument("--tokens", type=int, default=512)
    parser.add_argument("--at-once", type=int, default=8)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--show", type=int, default=0, help="print so many examples of what is wrong")
    given = parser.parse_args()
    began = time.monotonic()
    tallies = asyncio.run(check(given))
    table = Table("choice", "answers", "finished", "called", "calls", "wrong", "streamed otherwise")
    bad = False
    for mode, tally in tallies.items():
        wrong = ", ".join(f"{count} {why}" for why, count in tally.wrong.items()) or "0"
        finished = f"{tally.finished} ({tally.finished / tally.answers:.1%})"
        share = tally.finished / tally.answers
        if mode == "auto":  # an answer without calls may go on for as long as it likes
            share = 1 - tally.cut_calls / max(1, tally.called)
        row = (mode, tally.answers, finished, tally.called, tally.calls, wrong, tally.unequal)
        table.add_row(*map(str, row))
        bad = bad or bool(tally.wrong or tally.unequal) or share < LEAST_FINISHED
        for example in tally.examples[: given.show]:
            print(f"{mode}: {example}")
    Console(width=120).print(table)
    verdict = "MISSED" if bad else "met"
    print(f"{given.sets} sets of tools, {given.tokens} tokens, {time.monotonic() - began:.0f} s: {verdict}")
    sys.exit(bad)


if __name__ == "__main__":
    main()
