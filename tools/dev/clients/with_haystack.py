"""haystack."""

import json

from haystack.components.embedders import OpenAITextEmbedder
from haystack.components.generators.chat import OpenAIChatGenerator
from haystack.dataclasses import ChatMessage
from haystack.tools import Tool
from haystack.utils import Secret
from jobs import KEY, MODEL, URL, job, run
from pydantic import BaseModel

HELLO = [ChatMessage.from_user("Say hello to Ada, who is 36.")]


class Person(BaseModel):
    """Who is spoken of."""

    name: str
    age: int


def _generator(**more: object) -> OpenAIChatGenerator:
    settings = {"max_tokens": 64, "temperature": 0, **more.pop("settings", {})}
    return OpenAIChatGenerator(
        api_key=Secret.from_token(KEY), api_base_url=URL, model=MODEL, generation_kwargs=settings, **more
    )


@job
def chat() -> None:
    assert _generator().run(HELLO)["replies"][0].text


@job
def stream() -> None:
    chunks: list[object] = []
    _generator(streaming_callback=chunks.append).run(HELLO)
    assert len(chunks) > 2


@job
def tools() -> None:
    schema = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
    tool = Tool("weather", "The weather of a city.", schema, lambda city: "Sunny.")
    made = _generator(tools=[tool], settings={"tool_choice": "required"})
    assert made.run(HELLO)["replies"][0].tool_calls[0].tool_name == "weather"


@job
def structured_output() -> None:
    said = _generator(settings={"response_format": Person}).run(HELLO)["replies"][0].text
    assert set(json.loads(said)) == {"name", "age"}


@job
def embeddings() -> None:
    made = OpenAITextEmbedder(api_key=Secret.from_token(KEY), api_base_url=URL, model=MODEL)
    assert made.run("One.")["embedding"]


run()
