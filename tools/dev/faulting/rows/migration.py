"""Workers that die under generations of every kind, which go on elsewhere as if nothing had happened."""

import asyncio
import json
import math
import random
import time
from collections import Counter
from dataclasses import dataclass, field
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
    gap_s: float = 0.0
    first_s: float = 0.0
    ended: float = 0.0
    """When, in monotonic seconds."""

    def add(self, chunk: dict[str, Any]) -> None:
        """Take in a chunk, or the one body."""
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
    said, began = Said(), time.monotonic()
    last = began
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
                now = time.monotonic()
                said.first_s = said.first_s or now - began
                said.gap_s, last = max(said.gap_s, now - last), now
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
    gaps: list[float] = []
    failed = 0
    for death in range(count):
        name = f"w{death % mesh.plan.workers}"
        worker = mesh.parts[f"worker{name[1:]}"]
        running = asyncio.create_task(undisturbed(mesh, asked))
        await asyncio.sleep(rng.uniform(0.05, 0.9) * whole_s)
        epochs = await _epochs(mesh)
        moment = time.monotonic()
        await worker.killed()
        answers = await running
        hit = [said.gap_s for said in answers if said.worker == name and said.ended > moment]
        gaps += hit
        for kind, said, before in zip(kinds, answers, expected, strict=True):
            if said.error:
                failed += 1
                errors[said.error] += 1
            elif said.parts != before.parts:
                errors[f"wrong: {kind}"] += 1
        with (mesh.folder / "deaths.log").open("a") as log:
            most = max(hit, default=0.0)
            log.write(f"{death + 1} {name} {len(hit)} hit, longest gap {most:.2f} s, {dict(errors)}\n")
        worker.start()
        await _registered(mesh, name, epochs)
        await mesh.complete()
    lost = errors.total()
    moved = mesh.parts["gateway0"].said.count(" moved=")
    gap = sorted(gaps)[math.ceil(0.99 * len(gaps)) - 1] if gaps else math.nan
    wrong = [
        f"no valid answer: {kind}" for kind, said in zip(kinds, expected, strict=True) if _bad(kind, said)
    ]
    if not moved:
        wrong.append("nothing moved")
    late = (f"a gap of {gap:.2f} s (p99), and TTFT is {ttft:.2f} s",) if gap > ttft + 1 else ()
    longest = f"gap p99 {gap:.2f} s and at most {max(gaps, default=math.nan):.2f} s"
    return Seen(
        failed=lost,
        answered=count * STREAMS - lost,
        midway=failed,
        gap_s=gap,
        errors=dict(errors),
        wrong=tuple(wrong),
        late=late,
        note=f"{count} deaths, {len(gaps)} streams hit, {moved} moved, TTFT at most {ttft:.2f} s, {longest}",
    )


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
