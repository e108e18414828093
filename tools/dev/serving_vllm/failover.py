"""One of two workers is killed in the midst of streams of every kind."""

import asyncio
import re
from dataclasses import dataclass, field
from typing import Any

from answering.forms import PERSON, WEATHER
from faulting.mesh import RunningMesh
from faulting.parts import MODEL
from openai import APIError, AsyncOpenAI

TOKENS = 64
"""Of an answer, so that the worker can be killed in the midst of it."""

BEGUN = 8
"""Chunks that each stream has got when the worker is killed."""

NEAR = 0.05
"""By how much a log-probability may differ."""

ASKED: list[Any] = [{"role": "user", "content": "Tell me a long story about a lighthouse."}]

_FORM: Any = {
    "type": "json_schema",
    "json_schema": {
        "name": "list",
        "schema": {
            "type": "object",
            "properties": {"people": {"type": "array", "items": PERSON, "minItems": 8, "maxItems": 8}},
            "required": ["people"],
        },
    },
}


@dataclass(frozen=True)
class Kind:
    """A kind of stream; ``uses`` are the fields of the contract that its card may except."""

    name: str
    body: dict[str, Any] = field(default_factory=dict)
    uses: frozenset[str] = frozenset()
    named: bool = False
    """Whether it draws, and its caller has named the seed."""


KINDS = (
    Kind("greedy", {"temperature": 0}),
    Kind("greedy, two choices", {"temperature": 0, "n": 2}),
    Kind("greedy, repetition penalty", {"temperature": 0, "extra_body": {"repetition_penalty": 1.3}}),
    Kind("greedy, least tokens", {"temperature": 0, "extra_body": {"min_tokens": 60}}),
    Kind("log-probabilities", {"temperature": 0, "logprobs": True, "top_logprobs": 2}),
    Kind("output penalties", {"temperature": 0, "frequency_penalty": 1.0}, frozenset({"frequency_penalty"})),
    Kind("constraint", {"temperature": 0, "response_format": _FORM}, frozenset({"constraint"})),
    Kind("call", {"temperature": 0, "tools": WEATHER, "tool_choice": "required"}, frozenset({"tools"})),
    Kind("drawn", {"temperature": 1}),
    Kind("drawn, seed", {"temperature": 1, "seed": 7, "top_p": 0.9}, named=True),
)


@dataclass
class Told:
    """What came of a stream."""

    text: dict[int, str] = field(default_factory=dict)
    """By choice: all that was said, in order, however it was cut into chunks."""
    ends: dict[int, str] = field(default_factory=dict)
    logprobs: list[tuple[str, float]] = field(default_factory=list)
    chunks: int = 0
    usage: int = -1
    error: str = ""
    ended: bool = False


async def ask(client: AsyncOpenAI, kind: Kind, told: Told, name: str) -> None:
    """One stream, to its end."""
    body = {"model": MODEL, "messages": ASKED, "max_tokens": TOKENS} | kind.body
    headers = {"x-request-id": name}
    try:
        create: Any = client.chat.completions.create
        stream = await create(
            stream=True, stream_options={"include_usage": True}, extra_headers=headers, **body
        )
        async for chunk in stream:
            told.chunks += 1
            for choice in chunk.choices:
                _take(told, choice)
            if chunk.usage is not None:
                told.usage = chunk.usage.completion_tokens
        told.ended = True
    except APIError as error:
        told.error = str(error.code or error)


def _take(told: Told, choice: Any) -> None:
    text = choice.delta.content or ""
    for call in choice.delta.tool_calls or ():
        text += (call.function.name or "") + (call.function.arguments or "")
    told.text[choice.index] = told.text.get(choice.index, "") + text
    if choice.finish_reason is not None:
        told.ends[choice.index] = choice.finish_reason
    if choice.logprobs is not None:
        told.logprobs += [(each.token, round(each.logprob, 2)) for each in choice.logprobs.content or ()]


def _line(mesh: RunningMesh, name: str) -> str:
    """The access log's line of a request."""
    lines = [line for line in mesh.parts["gateway0"].said.splitlines() if name in line]
    return lines[-1] if lines else ""


async def failover(client: AsyncOpenAI, mesh: RunningMesh) -> int:
    """Kill a worker; return how many streams did not do as the card says."""
    card: dict[str, Any] = (await client.models.retrieve(MODEL)).model_extra or {}
    said = card["continuation"]
    before = {kind.name: Told() for kind in KINDS}
    first_names = {kind.name: f"before-{kind.name.replace(' ', '-').replace(',', '')}" for kind in KINDS}
    await asyncio.gather(*(ask(client, kind, before[kind.name], first_names[kind.name]) for kind in KINDS))
    await asyncio.sleep(1)  # until the access log is written
    first = _line(mesh, "before-greedy")
    found = re.search(r"worker=(w\d)", first)
    victim = "worker" + (found[1][1:] if found else "0")
    after = {kind.name: Told() for kind in KINDS}
    names = {kind.name: f"after-{kind.name.replace(' ', '-').replace(',', '')}" for kind in KINDS}
    asking = [asyncio.create_task(ask(client, kind, after[kind.name], names[kind.name])) for kind in KINDS]
    async with asyncio.timeout(600):
        while not all(told.chunks >= BEGUN or told.ended or told.error for told in after.values()):  # noqa: ASYNC110 # of many streams
            await asyncio.sleep(0.05)
    early = [name for name, told in after.items() if told.ended]
    print(f"  {victim} is killed; ended before: {', '.join(early) or 'none'}", flush=True)
    await mesh.parts[victim].killed()
    await asyncio.wait_for(asyncio.gather(*asking), 900)
    await asyncio.sleep(1)  # until the access log is written
    failed = 0
    for kind in KINDS:
        wrong, what = _judge(kind, before[kind.name], after[kind.name], _line(mesh, names[kind.name]), said)
        failed += bool(wrong)
        print(f"  {'no' if wrong else 'ok'}  {kind.name}: {wrong or what}", flush=True)
    return failed


def _judge(kind: Kind, before: Told, after: Told, line: str, said: dict[str, Any]) -> tuple[str, str]:
    """What is wrong with a stream, and what became of it."""
    if before.error or not before.ended:
        return f"undisturbed it failed: {before.error}", ""
    exact = said["continuity"] == "exact"
    moves = not kind.uses & set(said["without"]) and (exact or not kind.named)
    moved = re.search(r"moved=\S+", line)
    where = moved[0] if moved else "stayed"
    if not moves and not moved:
        return "", f"must not go on; {after.error or 'was not on the killed worker'}"
    if after.error or not after.ended:
        return f"lost: {after.error} ({where})", ""
    if moved and not moves:
        return f"went on, which its card does not say ({where})", ""
    if kind.name == "drawn":  # another seed each time
        return "", f"to its end ({where})"
    same = (after.text, after.ends, after.usage) == (before.text, before.ends, before.usage)
    near = all(
        one[0] == other[0] and abs(one[1] - other[1]) < NEAR
        for one, other in zip(after.logprobs, before.logprobs, strict=same)
    )
    if exact and not (same and near):
        return f"other than undisturbed ({where}): {after.usage} tokens for {before.usage}", ""
    return "", f"{'the same as undisturbed' if same else 'to its end, with other tokens'} ({where})"
