"""Workers that die under generations of every kind, which go on elsewhere as if nothing had happened."""

import asyncio
import json
import math
import random
import time
from collections import Counter
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import httpx
import jsonschema

from faulting.mesh import Plan, RunningMesh
from faulting.parts import MODEL
from faulting.suite import Bars, Ground, Seen, fault

STREAMS = 16

PLAN = Plan(
    workers=2,
    spec="smollm2-135m-instruct",
    settings={"worker": {"INFERLOOM_THREADS": "1"}},
    start_limit_s=300,  # a worker that starts a hundred times on a busy machine
)

_SCHEMA = {
    "type": "object",
    "properties": {
        "name": {"type": "string", "minLength": 1, "maxLength": 12},
        "age": {"type": "integer", "minimum": 0, "maximum": 130},
        "tags": {"type": "array", "items": {"enum": ["tall", "kind", "old"]}, "minItems": 1, "maxItems": 3},
    },
    "required": ["name", "age", "tags"],
    "additionalProperties": False,
}
_TOOL = {
    "type": "function",
    "function": {
        "name": "look",
        "parameters": {"type": "object", "properties": {"at": {"enum": ["sea", "sky"]}}},
    },
}

KINDS: dict[str, dict[str, Any]] = {
    "greedy": {"temperature": 0},
    "sampled": {"temperature": 0.9},
    "choices": {"n": 3, "max_tokens": 20},
    "penalties": {"frequency_penalty": 0.5, "presence_penalty": 0.3, "repetition_penalty": 1.1},
    "stop strings": {"stop": [". The", "ing t", "\n\n1"]},
    "log-probabilities": {"logprobs": True, "top_logprobs": 2, "max_tokens": 30},
    "schema": {"response_format": {"type": "json_schema", "json_schema": {"name": "a", "schema": _SCHEMA}}},
    "calls": {"tools": [_TOOL], "tool_choice": "required"},
    "bias": {"logit_bias": {"260": 3.0}, "top_p": 0.8},
    "in one body": {"stream": False},
}


@dataclass
class Said:
    """What came of one request."""

    parts: dict[str, Any] = field(default_factory=dict)
    """By choice and kind: text, calls, log-probabilities, end."""
    error: str = ""
    worker: str = ""
    """Who began it, where it is streamed."""
    began: float = 0.0
    """When it was asked, in monotonic seconds; so are the others."""
    times: list[float] = field(default_factory=list)
    """When something of the answer came, each time: a role is none yet."""
    ended: float = 0.0

    @property
    def first_s(self) -> float:
        """The wait for the first of the answer."""
        return self.times[0] - self.began if self.times else 0.0

    def gap_s(self, since: float = 0.0) -> float:
        """The longest time without anything, of those that ended after ``since``; the wait for the first is
        one of them."""
        times = [self.began, *self.times]
        return max((now - last for last, now in pairwise(times) if now > since), default=0.0)

    def add(self, chunk: dict[str, Any]) -> None:
        """Take in a chunk, or the one body."""
        before = dict(self.parts)
        self._take(chunk)
        if self.parts != before:
            self.times.append(time.monotonic())

    def _take(self, chunk: dict[str, Any]) -> None:
        if "error" in chunk:
            self.error = str(chunk["error"].get("code"))
        for choice in chunk.get("choices", []):
            at, delta = choice["index"], choice.get("delta") or choice.get("message") or {}
            if delta.get("content"):
                self._more(f"{at} text", delta["content"])
            for number, call in enumerate(delta.get("tool_calls") or []):
                place = f"{at} call {call.get('index', number)}"
                self._more(place, (call.get("id") or "") + (call["function"].get("name") or ""))
                self._more(f"{place} of", call["function"].get("arguments") or "")
            for entry in (choice.get("logprobs") or {}).get("content") or []:
                self._more(f"{at} logprobs", json.dumps(entry))
            if choice.get("finish_reason"):
                self.parts[f"{at} end"] = choice["finish_reason"]

    def _more(self, name: str, text: str) -> None:
        self.parts[name] = self.parts.get(name, "") + text


def bodies(rng: random.Random, count: int) -> list[dict[str, Any]]:
    """Requests of each kind."""
    made = []
    for number in range(count):
        kind = list(KINDS)[number % len(KINDS)]
        words = f"Tell me about number {rng.randrange(1000)}, and why. Answer {kind}."
        body = {"model": MODEL, "messages": [{"role": "user", "content": words}], "seed": number}
        made.append({**body, "max_tokens": 60, "stream": True, **KINDS[kind]})
    return made


async def ask(http: httpx.AsyncClient, url: str, body: dict[str, Any]) -> Said:
    """Ask, and note how long nothing came."""
    said = Said(began=time.monotonic())
    try:
        async with http.stream("POST", f"{url}/v1/chat/completions", json=body) as response:
            if not body["stream"]:
                said.add(json.loads(await response.aread()))
                return said
            said.worker = response.headers.get("x-inferloom-worker", "")
            done = False
            async for line in response.aiter_lines():
                if not line.startswith("data: "):
                    continue
                done = line == "data: [DONE]"
                if not done:
                    said.add(json.loads(line[6:]))
            if not done:
                said.error = said.error or "no [DONE]"
    except httpx.TransportError as failure:
        said.error = type(failure).__name__
    finally:
        said.ended = time.monotonic()
    return said


async def undisturbed(mesh: RunningMesh, asked: list[dict[str, Any]]) -> list[Said]:
    """What is said where nothing dies."""
    async with httpx.AsyncClient(timeout=None) as http:
        return list(await asyncio.gather(*(ask(http, mesh.urls[0], body) for body in asked)))


async def deaths(mesh: RunningMesh, count: int, seed: int = 1) -> Seen:
    """Kill a worker under streams of all kinds, again and again; each stream sees one die at most. Gaps are
    those of streams that were on it and not over. A line for each death goes to ``deaths.log``."""
    rng = random.Random(seed)
    asked = bodies(rng, STREAMS)
    kinds = [list(KINDS)[number % len(KINDS)] for number in range(STREAMS)]
    began = time.monotonic()
    expected = await undisturbed(mesh, asked)
    whole_s = time.monotonic() - began
    ttft = max(said.first_s for said in expected)
    errors: Counter[str] = Counter()
    gaps: dict[str, list[float]] = {kind: [] for kind in KINDS}
    usual = {kind: said.gap_s() for kind, said in zip(kinds, expected, strict=True)}
    failed = 0
    for death in range(count):
        name = f"w{death % mesh.plan.workers}"
        worker = mesh.parts[f"worker{name[1:]}"]
        # Each round begins as the undisturbed one did: no worker has its prompts, so they are shared out.
        salted = [{**body, "cache_salt": f"round {death}"} for body in asked]
        running = asyncio.create_task(undisturbed(mesh, salted))
        await asyncio.sleep(rng.uniform(0.05, 0.9) * whole_s)
        epochs = await _epochs(mesh)
        moment = time.monotonic()
        await worker.killed()
        answers = await running
        hit = [
            (said.gap_s(moment), kind)
            for kind, said in zip(kinds, answers, strict=True)
            if said.worker == name and said.ended > moment
        ]
        for gap, kind in hit:
            gaps[kind].append(gap)
        for kind, said, before in zip(kinds, answers, expected, strict=True):
            if said.error:
                failed += 1
                errors[said.error] += 1
            elif said.parts != before.parts:
                errors[f"wrong: {kind}"] += 1
        with (mesh.folder / "deaths.log").open("a") as log:
            most, whose = max(hit, default=(0.0, "nobody"))
            longest = f"longest gap {most:.2f} s ({whose})"
            log.write(f"{death + 1} {name} {len(hit)} hit, {longest}, {dict(errors)}\n")
        worker.start()
        await _registered(mesh, name, epochs)
        await mesh.complete()
    lost = errors.total()
    moved = mesh.parts["gateway0"].said.count(" moved=")
    every = [gap for found in gaps.values() for gap in found]
    gap = _p99(every)
    wrong = [
        f"no valid answer: {kind}" for kind, said in zip(kinds, expected, strict=True) if _bad(kind, said)
    ]
    if not moved:
        wrong.append("nothing moved")
    late = (f"a gap of {gap:.2f} s (p99), and TTFT is {ttft:.2f} s",) if gap > ttft + 1 else ()
    of_kinds = ", ".join(
        f"{kind} {_p99(found):.2f} ({usual[kind]:.2f})" for kind, found in gaps.items() if found
    )
    return Seen(
        failed=lost,
        answered=count * STREAMS - lost,
        midway=failed,
        gap_s=gap,
        errors=dict(errors),
        wrong=tuple(wrong),
        late=late,
        note=f"{count} deaths, {len(every)} streams hit, {moved} moved, TTFT at most {ttft:.2f} s, gaps at "
        f"most {max(every, default=math.nan):.2f} s; p99 of each kind (undisturbed): {of_kinds}",
    )


def _p99(values: list[float]) -> float:
    return sorted(values)[math.ceil(0.99 * len(values)) - 1] if values else math.nan


def _bad(kind: str, said: Said) -> bool:
    """Whether an answer does not conform to what it must."""
    if kind != "schema":
        return False
    try:
        jsonschema.validate(json.loads(said.parts["0 text"]), _SCHEMA)
    except (ValueError, jsonschema.ValidationError):
        return True
    return False


async def _epochs(mesh: RunningMesh) -> dict[str, int]:
    return {each.worker.id: each.epoch for each in await mesh.workers()}


async def _registered(mesh: RunningMesh, name: str, before: dict[str, int]) -> None:
    """Wait until a worker has registered anew."""
    async with asyncio.timeout(mesh.plan.start_limit_s):
        while True:
            if (await _epochs(mesh)).get(name, 0) > before[name]:
                return
            await asyncio.sleep(0.2)


@fault(f"a worker killed again and again (--deaths) under {STREAMS} streams of mixed kinds", Bars())
async def killed_often(ground: Ground) -> Seen:
    """Two workers with the demo model; every answer is that of the undisturbed run."""
    async with ground.mesh(PLAN) as mesh:
        return await deaths(mesh, ground.deaths)
