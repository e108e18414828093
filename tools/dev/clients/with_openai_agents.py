"""openai-agents, with the model class that it takes by itself: responses."""

import asyncio
from contextlib import suppress

from agents import (
    Agent,
    MaxTurnsExceeded,
    ModelSettings,
    Runner,
    function_tool,
    handoff,
    set_default_openai_client,
    set_tracing_disabled,
)
from jobs import KEY, MODEL, URL, job, run
from openai import AsyncOpenAI
from pydantic import BaseModel


def _connect() -> None:
    set_default_openai_client(AsyncOpenAI(base_url=URL, api_key=KEY), use_for_tracing=False)


_connect()
set_tracing_disabled(True)
SETTINGS = ModelSettings(max_tokens=96, temperature=0)


class Person(BaseModel):
    """Who is spoken of."""

    name: str
    age: int


CALLED: list[str] = []


@function_tool
def weather(city: str) -> str:
    """Tells the weather of a city."""
    CALLED.append(city)
    return "Sunny."


def _agent(**more: object) -> Agent:
    return Agent(name="Helper", instructions="Be short.", model=MODEL, model_settings=SETTINGS, **more)


@job
def chat() -> None:
    assert Runner.run_sync(_agent(), "Say hello.").final_output


@job
def stream() -> None:
    async def listened() -> int:
        _connect()  # its connections belong to one loop
        said = Runner.run_streamed(_agent(), "Say hello.")
        return sum([1 async for _ in said.stream_events()])

    assert asyncio.run(listened()) > 2
    _connect()


@job
def structured_output() -> None:
    assert isinstance(Runner.run_sync(_agent(output_type=Person), "Ada is 36.").final_output, Person)


@job
def tools() -> None:
    settings = ModelSettings(max_tokens=96, temperature=0, tool_choice="required")
    agent = Agent(name="Helper", model=MODEL, model_settings=settings, tools=[weather])
    Runner.run_sync(agent, "How is the weather in Rome?")
    assert CALLED


@job
def handoffs() -> None:
    other = _agent(handoff_description="Knows about money.")
    settings = ModelSettings(max_tokens=96, temperature=0)
    agent = Agent(name="Front", model=MODEL, model_settings=settings, handoffs=[handoff(other)])
    with suppress(MaxTurnsExceeded):  # the model may call for ever
        assert Runner.run_sync(agent, "Where is my money?", max_turns=3).final_output is not None


run()
