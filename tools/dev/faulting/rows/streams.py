"""Resumable streams, whose gateway dies."""

import asyncio
import json
import math
import time
from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any

import grpc
import httpx

from faulting.load import expected, said
from faulting.mesh import Plan, RunningMesh
from faulting.parts import MODEL
from faulting.suite import Bars, Ground, Seen, fault
from inferloom.v1 import inference_pb2 as pb
from inferloom.v1.inference_pb2_grpc import InferenceServiceStub

if TYPE_CHECKING:
    from inferloom.v1.inference_pb2_grpc import InferenceServiceAsyncStub

Ask = Callable[[RunningMesh, int, asyncio.Queue[int]], Coroutine[Any, Any, tuple[str, float]]]

STREAMS = 16
TOKENS = 400
LIMIT_S = 60.0


@fault(
    f"a gateway killed (SIGKILL) under {STREAMS} resumable streams, of two that share a store",
    Bars(gap_s=9),
    quick=True,
)
async def gateway_killed(ground: Ground) -> Seen:
    """Their clients go to the other gateway with the id of their last event."""
    return await _killed(ground, _ask)


@fault(
    f"the same by gRPC: a gateway killed (SIGKILL) under {STREAMS} resumable generations of two choices",
    Bars(gap_s=9),
    quick=True,
)
async def gateway_killed_under_calls(ground: Ground) -> Seen:
    """Their clients go to the other gateway with the sequence of their last event."""
    return await _killed(ground, _call)


@fault(f"a gateway killed (SIGKILL) under {STREAMS} resumable completions of three prompts", Bars(gap_s=9))
async def gateway_killed_under_prompts(ground: Ground) -> Seen:
    """Their clients go to the other gateway with the id of their last event."""
    return await _killed(ground, _ask_several)


async def _killed(ground: Ground, ask: Ask) -> Seen:
    async with ground.mesh(Plan(workers=2, gateways=2)) as mesh:
        begun: asyncio.Queue[int] = asyncio.Queue()
        asking = [asyncio.create_task(ask(mesh, number, begun)) for number in range(STREAMS)]
        async with asyncio.timeout(LIMIT_S):
            for _ in range(STREAMS):
                await begun.get()
        await mesh.parts["gateway0"].killed()
        found = await asyncio.gather(*asking)
    wrong = [error for error, _ in found if error]
    return Seen(
        failed=len(wrong),
        answered=STREAMS - len(wrong),
        gap_s=max((gap for _, gap in found), default=math.nan),
        errors={error: wrong.count(error) for error in wrong},
    )


async def _call(mesh: RunningMesh, number: int, begun: asyncio.Queue[int]) -> tuple[str, float]:
    """What was wrong with one generation, and the longest time in which nothing came."""
    prompt = f"prompt {number} of a client; " * 6
    turn = pb.ChatMessage(role=pb.ROLE_USER, parts=[pb.ContentPart(text=prompt)])
    request = pb.GenerateRequest(model=MODEL, chat=pb.ChatInput(messages=[turn]))
    request.sampling.n, request.stopping.max_tokens = 2, 400
    events: list[pb.GenerateResponse] = []
    gap = 0.0
    came = began = time.monotonic()
    while time.monotonic() - began < LIMIT_S:
        async with grpc.aio.insecure_channel(mesh.grpc[1 if events else 0]) as channel:
            stub: InferenceServiceAsyncStub = InferenceServiceStub(channel)
            if events:
                name, after = events[0].started.request_id, events[-1].sequence
                call: Any = stub.ContinueGenerate(pb.ContinueGenerateRequest(stream=name, after=after))
            else:
                call = stub.Generate(request, metadata=(("x-inferloom-resumable", "30"),))
            try:
                async for event in call:
                    gap, came = max(gap, time.monotonic() - came), time.monotonic()
                    if not events:
                        begun.put_nowait(number)
                    events.append(event)
            except grpc.aio.AioRpcError as failure:
                if failure.code() is not grpc.StatusCode.UNAVAILABLE:
                    return failure.code().name, gap
                continue
        if [event.sequence for event in events] != list(range(len(events))):
            return "another sequence", gap
        said = ["".join(e.delta.text for e in events if e.delta.choice == each) for each in (0, 1)]
        whole = events[-1].HasField("completed") and said == [expected(prompt)] * 2
        return "" if whole else "wrong", gap
    return "too late", gap


async def _ask(mesh: RunningMesh, number: int, begun: asyncio.Queue[int]) -> tuple[str, float]:
    """What was wrong with one stream, and the longest time in which nothing came."""
    prompt = f"prompt {number} of a client; " * 6
    body = {"model": MODEL, "messages": [{"role": "user", "content": prompt}], "max_tokens": 400}
    return await _follow(
        mesh,
        "chat/completions",
        body,
        lambda: begun.put_nowait(number),
        lambda text: said(text) == expected(prompt),
    )


async def _ask_several(mesh: RunningMesh, number: int, begun: asyncio.Queue[int]) -> tuple[str, float]:
    """The same with one of several prompts."""
    prompts = [f"prompt {number}.{each} of a client; " * (2 + 3 * each) for each in range(3)]
    body = {"model": MODEL, "prompt": prompts, "max_tokens": TOKENS}

    def right(text: bytes) -> bool:
        told = [""] * len(prompts)
        for line in text.split(b"\n\n"):
            for choice in json.loads(line[6:])["choices"] if line.startswith(b"data: {") else ():
                told[choice["index"]] += choice["text"]
        return told == [(each * TOKENS)[:TOKENS] for each in prompts]  # echoed until there are as many

    return await _follow(mesh, "completions", body, lambda: begun.put_nowait(number), right)


async def _follow(
    mesh: RunningMesh,
    path: str,
    body: dict[str, Any],
    begun: Callable[[], None],
    right: Callable[[bytes], bool],
) -> tuple[str, float]:
    """Read a stream to its end, at the second gateway once the first has gone."""
    asked = body | {"stream": True}
    text, name, last, gap = b"", "", "", 0.0
    came = began = time.monotonic()
    async with httpx.AsyncClient(timeout=20) as http:
        while time.monotonic() - began < LIMIT_S:
            url = mesh.urls[1 if name else 0]
            answering = (
                http.stream("GET", f"{url}/v1/streams/{name}", headers={"last-event-id": last})
                if name
                else http.stream(
                    "POST", f"{url}/v1/{path}", json=asked, headers={"x-inferloom-resumable": "30"}
                )
            )
            try:
                async with answering as response:
                    if response.status_code != 200:
                        return f"status {response.status_code}", gap
                    if not name:
                        begun()
                    name = response.headers["x-inferloom-stream"]
                    async for line in response.aiter_lines():
                        if line.startswith("id: "):
                            last = line[4:]
                        elif line.startswith("data: "):
                            gap, came = max(gap, time.monotonic() - came), time.monotonic()
                            text += line.encode() + b"\n\n"
            except httpx.TransportError:
                continue
            if not text.endswith(b"[DONE]\n\n"):
                return "no [DONE]", gap
            return ("" if right(text) else "wrong"), gap
    return "too late", gap
