"""autogen."""

import asyncio
from collections.abc import Awaitable
from typing import TypeVar

from autogen_agentchat.agents import AssistantAgent
from autogen_core.models import UserMessage
from autogen_core.tools import FunctionTool
from autogen_ext.models.openai import OpenAIChatCompletionClient
from jobs import KEY, MODEL, URL, job, run
from pydantic import BaseModel

T = TypeVar("T")
INFO = {
    "vision": False,
    "function_calling": True,
    "json_output": True,
    "family": "unknown",
    "structured_output": True,
}
HELLO = [UserMessage(content="Say hello to Ada, who is 36.", source="user")]


class Person(BaseModel):
    """Who is spoken of."""

    name: str
    age: int


def _client() -> OpenAIChatCompletionClient:
    return OpenAIChatCompletionClient(
        model=MODEL, base_url=URL, api_key=KEY, model_info=INFO, max_tokens=64, temperature=0
    )


def _done(work: Awaitable[T]) -> T:
    async def awaited() -> T:
        return await work

    return asyncio.run(awaited())


async def weather(city: str) -> str:
    """Tells the weather of a city."""
    return f"Sunny in {city}."


@job
def chat() -> None:
    assert _done(_client().create(HELLO)).content


@job
def stream() -> None:
    async def listened() -> list[object]:
        return [part async for part in _client().create_stream(HELLO)]

    assert len(_done(listened())) > 2


@job
def tools() -> None:
    tool = FunctionTool(weather, description="The weather of a city.", strict=True)
    said = _done(_client().create(HELLO, tools=[tool], tool_choice="required"))
    assert said.content[0].name == "weather"


@job
def structured_output() -> None:
    said = _done(_client().create(HELLO, json_output=Person))
    Person.model_validate_json(said.content)


@job
def agent() -> None:
    made = AssistantAgent("helper", model_client=_client(), tools=[weather])
    assert _done(made.run(task="Hello!")).messages[-1]


run()
