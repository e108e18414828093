"""OpenAI's own SDK."""

import json

from jobs import KEY, MODEL, URL, job, run
from openai import OpenAI
from pydantic import BaseModel

client = OpenAI(base_url=URL, api_key=KEY)
HELLO = [{"role": "user", "content": "Say hello to Ada, who is 36."}]
TOOL = {
    "type": "function",
    "function": {
        "name": "get-weather",
        "description": "The weather of a city.",
        "strict": True,
        "parameters": {
            "type": "object",
            "properties": {"city": {"type": "string", "maxLength": 20}},
            "required": ["city"],
            "additionalProperties": False,
        },
    },
}


class Person(BaseModel):
    """What is asked for."""

    name: str
    age: int


@job
def models() -> None:
    assert MODEL in [model.id for model in client.models.list()]


@job
def chat() -> None:
    answer = client.chat.completions.create(model=MODEL, messages=HELLO, max_tokens=16)
    assert answer.choices[0].message.content
    assert answer.usage.completion_tokens <= 16


@job
def stream() -> None:
    options = {"include_usage": True}
    chunks = list(
        client.chat.completions.create(
            model=MODEL, messages=HELLO, max_tokens=16, stream=True, stream_options=options
        )
    )
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
    assert chunks[-1].usage.total_tokens


@job
def tools() -> None:
    answer = client.chat.completions.create(
        model=MODEL,
        messages=HELLO,
        tools=[TOOL],
        tool_choice="required",
        parallel_tool_calls=False,
        max_tokens=64,
    )
    (call,) = answer.choices[0].message.tool_calls
    assert answer.choices[0].finish_reason == "tool_calls"
    assert set(json.loads(call.function.arguments)) == {"city"}
    turns = [
        *HELLO,
        answer.choices[0].message,
        {"role": "tool", "tool_call_id": call.id, "content": "Sunny."},
    ]
    again = client.chat.completions.create(model=MODEL, messages=turns, tools=[TOOL], max_tokens=16)
    assert again.choices


@job
def streamed_tools() -> None:
    with client.chat.completions.stream(
        model=MODEL, messages=HELLO, tools=[TOOL], tool_choice="required", max_tokens=64
    ) as events:
        final = events.get_final_completion()
    assert final.choices[0].message.tool_calls[0].function.parsed_arguments["city"] is not None


@job
def structured_output() -> None:
    answer = client.chat.completions.parse(
        model=MODEL, messages=HELLO, response_format=Person, max_tokens=64, temperature=0
    )
    assert isinstance(answer.choices[0].message.parsed, Person)


@job
def responses() -> None:
    answer = client.responses.create(model=MODEL, input="Say hello.", max_output_tokens=16)
    assert answer.output_text
    parsed = client.responses.parse(model=MODEL, input="Ada is 36.", text_format=Person, max_output_tokens=64)
    assert isinstance(parsed.output_parsed, Person)


@job
def streamed_responses() -> None:
    with client.responses.stream(model=MODEL, input="Say hello.", max_output_tokens=400) as events:
        kinds = [event.type for event in events]
        assert events.get_final_response().output_text
    assert kinds[0] == "response.created"


@job
def completions() -> None:
    answer = client.completions.create(model=MODEL, prompt="One, two,", max_tokens=8, echo=True, logprobs=1)
    assert answer.choices[0].text.startswith("One, two,")


@job
def embeddings() -> None:
    answer = client.embeddings.create(model=MODEL, input=["One.", "Two."])
    assert len(answer.data) == 2


run()
