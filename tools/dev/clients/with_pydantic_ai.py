"""pydantic-ai."""

from contextlib import suppress

from jobs import KEY, MODEL, URL, job, run
from pydantic import BaseModel
from pydantic_ai import Agent, NativeOutput
from pydantic_ai.exceptions import UsageLimitExceeded
from pydantic_ai.models.openai import OpenAIChatModel, OpenAIResponsesModel
from pydantic_ai.providers.openai import OpenAIProvider
from pydantic_ai.usage import UsageLimits

provider = OpenAIProvider(base_url=URL, api_key=KEY)
model = OpenAIChatModel(MODEL, provider=provider)
SETTINGS = {"max_tokens": 96, "temperature": 0.0}


class Person(BaseModel):
    """Who is spoken of."""

    name: str
    age: int


@job
def chat() -> None:
    assert Agent(model, model_settings=SETTINGS).run_sync("Say hello.").output


@job
def stream() -> None:
    said = Agent(model, model_settings=SETTINGS).run_stream_sync("Say hello.")
    assert list(said.stream_text())


@job
def tool_output() -> None:
    agent = Agent(model, output_type=Person, model_settings=SETTINGS)
    assert isinstance(agent.run_sync("Ada is 36.").output, Person)


@job
def native_output() -> None:
    agent = Agent(model, output_type=NativeOutput(Person), model_settings=SETTINGS)
    assert isinstance(agent.run_sync("Ada is 36.").output, Person)


@job
def tools() -> None:
    called = []

    def weather(city: str) -> str:
        """Tells the weather of a city."""
        called.append(city)
        return "Sunny."

    agent = Agent(model, tools=[weather], output_type=Person, model_settings=SETTINGS)
    with suppress(UsageLimitExceeded):  # the model may call for ever
        agent.run_sync("How is the weather?", usage_limits=UsageLimits(request_limit=4))
    Agent(model, tools=[weather], model_settings=SETTINGS).run_sync("Hello!")


@job
def responses() -> None:
    other = OpenAIResponsesModel(MODEL, provider=provider)
    assert Agent(other, model_settings=SETTINGS).run_sync("Say hello.").output


run()
