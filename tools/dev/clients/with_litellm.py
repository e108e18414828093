"""litellm."""

import json

import litellm
from jobs import KEY, MODEL, URL, job, run
from pydantic import BaseModel

litellm.telemetry = False
ASKED = {"model": f"openai/{MODEL}", "api_base": URL, "api_key": KEY, "max_tokens": 64, "temperature": 0}
HELLO = [{"role": "user", "content": "Say hello to Ada, who is 36."}]
TOOL = {
    "type": "function",
    "function": {
        "name": "weather",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
    },
}


class Person(BaseModel):
    """Who is spoken of."""

    name: str
    age: int


@job
def chat() -> None:
    assert litellm.completion(messages=HELLO, **ASKED).choices[0].message.content


@job
def stream() -> None:
    chunks = list(litellm.completion(messages=HELLO, stream=True, **ASKED))
    assert litellm.stream_chunk_builder(chunks).choices[0].message.content


@job
def tools() -> None:
    answer = litellm.completion(messages=HELLO, tools=[TOOL], tool_choice="required", **ASKED)
    assert "city" in json.loads(answer.choices[0].message.tool_calls[0].function.arguments)


@job
def structured_output() -> None:
    answer = litellm.completion(messages=HELLO, response_format=Person, **ASKED)
    Person.model_validate_json(answer.choices[0].message.content)


@job
def embeddings() -> None:
    made = litellm.embedding(
        model=f"openai/{MODEL}", api_base=URL, api_key=KEY, input=["One.", "Two."], encoding_format="float"
    )
    assert len(made.data) == 2


@job
def responses() -> None:
    made = litellm.responses(
        model=f"openai/{MODEL}", api_base=URL, api_key=KEY, input="Say hello.", max_output_tokens=16
    )
    assert made.output


run()
