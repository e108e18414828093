"""What applications ask by the SDK of OpenAI, each with what must be true of the answer."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Any

from faulting.parts import MODEL
from openai import APIStatusError, AsyncOpenAI, BadRequestError

Case = Callable[[AsyncOpenAI], Awaitable[str]]
"""Asks, and returns what is wrong; nothing: all is right."""

ASKED: list[Any] = [{"role": "user", "content": "Name three colours."}]

PERSON = {
    "type": "object",
    "properties": {"name": {"type": "string", "maxLength": 12}, "age": {"type": "integer"}},
    "required": ["name", "age"],
}

WEATHER: list[Any] = [
    {
        "type": "function",
        "function": {
            "name": "get_weather",
            "parameters": {
                "type": "object",
                "properties": {"city": {"type": "string", "maxLength": 12}},
                "required": ["city"],
            },
        },
    }
]


AT_ONCE = 4
"""Cases that run side by side: a step of many prompts takes long on a small machine."""


async def chat(client: AsyncOpenAI, **more: Any) -> Any:
    """A conversation's answer."""
    create: Any = client.chat.completions.create
    return await create(**({"model": MODEL, "messages": ASKED, "temperature": 0} | more))


async def plain(client: AsyncOpenAI) -> str:
    answer = await chat(client, max_tokens=8)
    usage = answer.usage
    if (usage.completion_tokens, answer.choices[0].finish_reason) != (8, "length"):
        return f"{usage} {answer.choices[0].finish_reason}"
    return "" if answer.choices[0].message.content else "no text"


async def streamed(client: AsyncOpenAI) -> str:
    whole = await chat(client, max_tokens=12)
    stream = await chat(client, max_tokens=12, stream=True, stream_options={"include_usage": True})
    text, usage = "", whole.usage
    async for chunk in stream:
        usage = chunk.usage
        text += "".join(choice.delta.content or "" for choice in chunk.choices)
    same = text == whole.choices[0].message.content and usage is not None
    return "" if same and usage.completion_tokens == 12 else f"{text!r} {usage}"


async def choices(client: AsyncOpenAI) -> str:
    answer = await chat(client, n=3, temperature=1, seed=3, max_tokens=8)
    texts = [choice.message.content for choice in answer.choices]
    again = await chat(client, n=3, temperature=1, seed=3, max_tokens=8)
    same = texts == [choice.message.content for choice in again.choices]
    return "" if len(set(texts)) > 1 and same else f"{texts}, again the same: {same}"


async def stops(client: AsyncOpenAI) -> str:
    answer = await chat(client, max_tokens=40, stop=["2."])
    choice = answer.choices[0]
    return "" if choice.finish_reason == "stop" and "2." not in choice.message.content else str(choice)


async def log_probabilities(client: AsyncOpenAI) -> str:
    answer = await chat(client, max_tokens=4, logprobs=True, top_logprobs=3)
    places = answer.choices[0].logprobs.content
    best = all(place.logprob == place.top_logprobs[0].logprob for place in places)
    return "" if len(places) == 4 and best else str(places)


async def of_prompts(client: AsyncOpenAI) -> str:
    answer = await client.completions.create(
        model=MODEL, prompt="The capital of France is", max_tokens=0, echo=True, logprobs=1
    )
    found: Any = answer.choices[0].logprobs and answer.choices[0].logprobs.token_logprobs
    right = found[0] is None and all(value < 0 for value in found[1:]) and len(found) > 3
    return "" if right else str(found)


async def schemas(client: AsyncOpenAI) -> str:
    form: Any = {"type": "json_schema", "json_schema": {"name": "person", "schema": PERSON, "strict": True}}
    for settings in ({}, {"temperature": 1, "seed": 5}):
        answer = await chat(client, max_tokens=80, response_format=form, **settings)
        found = json.loads(answer.choices[0].message.content)
        if sorted(found) != ["age", "name"] or answer.choices[0].finish_reason != "stop":
            return str(answer)
    return ""


async def calls(client: AsyncOpenAI) -> str:
    answer = await chat(client, max_tokens=80, tools=WEATHER, tool_choice="required")
    call = answer.choices[0].message.tool_calls[0]
    return (
        ""
        if call.function.name == "get_weather" and json.loads(call.function.arguments)["city"]
        else str(call)
    )


async def patterns(client: AsyncOpenAI) -> str:
    answer = await chat(client, max_tokens=20, extra_body={"regex": "(yes|no), [0-9]{3}"})
    text = answer.choices[0].message.content
    return "" if text[-3:].isdigit() and text.partition(",")[0] in ("yes", "no") else text


async def biases(client: AsyncOpenAI) -> str:
    first = await chat(client, max_tokens=1, logprobs=True, extra_body={"return_token_ids": True})
    token = first.choices[0].model_extra["token_ids"][0]
    other = await chat(
        client, max_tokens=1, logit_bias={str(token): -100}, extra_body={"return_token_ids": True}
    )
    return "" if other.choices[0].model_extra["token_ids"] != [token] else "the barred token came"


async def least_tokens(client: AsyncOpenAI) -> str:
    answer = await chat(client, max_tokens=30, extra_body={"min_tokens": 25})
    return "" if answer.usage.completion_tokens >= 25 else str(answer.usage)


async def too_long(client: AsyncOpenAI) -> str:
    try:
        await chat(client, messages=[{"role": "user", "content": "a b c " * 2000}])
    except BadRequestError as error:
        return "" if error.code == "context_length_exceeded" else str(error)
    return "it was taken"


async def refusals(client: AsyncOpenAI) -> str:
    try:
        await chat(client, max_tokens=2, prediction={"type": "content", "content": "Red"})
    except APIStatusError as error:
        return "" if error.status_code == 400 and "prediction" in str(error) else str(error)
    return ""  # a hint that is not taken


async def card(client: AsyncOpenAI) -> str:
    model = (await client.models.retrieve(MODEL)).model_extra or {}
    said = model.get("continuation") or {}
    print(f"      card: engine {model.get('engine')}, {model.get('dtype')}, {said}")
    return (
        "" if model.get("engine") == "vllm" and said.get("continuity") in ("tokens", "exact") else str(model)
    )


CASES: tuple[Case, ...] = (
    *(card, plain, streamed, choices, stops, log_probabilities, of_prompts, schemas, calls, patterns),
    *(biases, least_tokens, too_long, refusals),
)


async def suite(client: AsyncOpenAI) -> int:
    """Ask everything, :data:`AT_ONCE`; return how many answers were wrong."""
    places = asyncio.Semaphore(AT_ONCE)
    return sum(await asyncio.gather(*(_asked(client, case, places) for case in CASES)))


async def _asked(client: AsyncOpenAI, case: Case, places: asyncio.Semaphore) -> bool:
    async with places:
        try:
            wrong = await case(client)
        except Exception as error:  # whatever the SDK raises is the finding
            wrong = f"{type(error).__name__}: {error}"
    print(f"  {'no' if wrong else 'ok'}  {case.__name__.replace('_', ' ')}  {wrong[:400]}", flush=True)
    return bool(wrong)
