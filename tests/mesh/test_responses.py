"""/v1/responses of real processes with the demo model."""

import json
from typing import Any

import pytest
from openai import BadRequestError, OpenAI
from pydantic import BaseModel, Field

from tests.mesh.conftest import CHAT
from tests.mesh.processes import Mesh, run
from tests.patience import until
from tests.wire import sdk_types

GREEDY: dict[str, Any] = {"model": CHAT, "temperature": 0}
QUESTION = "What is the capital of France? Answer in one word."


class City(BaseModel):
    """A city that a model is asked for."""

    name: str = Field(max_length=20)
    population: int = Field(ge=0, le=100_000_000)


def test_a_response_is_the_chats_answer(client: OpenAI) -> None:
    """The same text and the same tokens as a chat, streamed or not."""
    chat = client.chat.completions.create(
        **GREEDY, messages=[{"role": "user", "content": QUESTION}], max_tokens=16
    )
    asked: dict[str, Any] = {**GREEDY, "input": QUESTION, "max_output_tokens": 16}
    made = client.responses.create(**asked)
    assert list(sdk_types.left_over(made)) == []
    assert made.output_text == chat.choices[0].message.content
    assert made.usage is not None
    assert chat.usage is not None
    assert (made.usage.input_tokens, made.usage.output_tokens) == (
        chat.usage.prompt_tokens,
        chat.usage.completion_tokens,
    )
    with client.responses.stream(**asked) as stream:
        text = "".join(event.delta for event in stream if event.type == "response.output_text.delta")
        assert text == stream.get_final_response().output_text == made.output_text


def test_three_turns_read_what_a_chat_of_them_reads(client: OpenAI) -> None:
    """The prompt of a response that goes on is that of a chat with the whole history, to the token."""
    history: list[Any] = [{"role": "system", "content": "Be brief."}]
    previous = None
    for question in (QUESTION, "And of Italy?", "And of Spain?"):
        made = client.responses.create(
            **GREEDY,
            input=question,
            instructions="Be brief.",
            previous_response_id=previous,
            max_output_tokens=12,
        )
        previous = made.id
        history += [{"role": "user", "content": question}, {"role": "assistant", "content": made.output_text}]
        chat = client.chat.completions.create(**GREEDY, messages=history[:-1], max_tokens=12)
        assert chat.choices[0].message.content == made.output_text
        assert made.usage is not None
        assert chat.usage is not None
        assert made.usage.input_tokens == chat.usage.prompt_tokens


def test_structured_text_is_parsed(client: OpenAI) -> None:
    """responses.parse gives an object of the asked type, which the schema holds the demo model to."""
    made = client.responses.parse(**GREEDY, input="Tell me of Rome.", text_format=City, max_output_tokens=128)
    assert isinstance(made.output_parsed, City)


def test_a_function_is_called_and_its_result_read(client: OpenAI) -> None:
    """A required call has arguments that fit, and the conversation goes on from its result."""
    tool: Any = {
        "type": "function",
        "name": "get-weather",
        "parameters": {
            "type": "object",
            "properties": {"city": {"enum": ["Paris", "Rome"]}},
            "required": ["city"],
            "additionalProperties": False,
        },
        "strict": True,
    }
    made = client.responses.create(
        **GREEDY, input="Weather in Rome?", tools=[tool], tool_choice="required", parallel_tool_calls=False
    )
    assert list(sdk_types.left_over(made)) == []
    call = made.output[-1]
    assert call.type == "function_call"
    assert (call.name, set(json.loads(call.arguments))) == ("get-weather", {"city"})
    result: Any = [{"type": "function_call_output", "call_id": call.call_id, "output": "sunny"}]
    more = client.responses.create(
        **GREEDY,
        input=result,
        previous_response_id=made.id,
        max_output_tokens=8,
        tools=[tool],
        tool_choice="none",
    )
    assert more.output[-1].type == "message"


def test_effort_is_refused_where_no_template_reads_it(client: OpenAI) -> None:
    """By the caller's own name for it; none asks for nothing."""
    with pytest.raises(BadRequestError) as caught:
        client.responses.create(**GREEDY, input="Hi", reasoning={"effort": "high"}, max_output_tokens=1)
    assert caught.value.param == "reasoning.effort"
    client.responses.create(**GREEDY, input="Hi", reasoning={"effort": "none"}, max_output_tokens=1)


def test_logprobs_are_those_of_a_chat(client: OpenAI) -> None:
    """With message.output_text.logprobs each token has its alternatives."""
    made: Any = client.responses.create(
        **GREEDY,
        input=QUESTION,
        max_output_tokens=4,
        include=["message.output_text.logprobs"],
        top_logprobs=2,
    )
    chat: Any = client.chat.completions.create(
        **GREEDY,
        messages=[{"role": "user", "content": QUESTION}],
        max_tokens=4,
        logprobs=True,
        top_logprobs=2,
    )
    mine = [entry.model_dump() for entry in made.output[0].content[0].logprobs]
    assert mine == [entry.model_dump() for entry in chat.choices[0].logprobs.content]


def test_a_response_in_background_is_found_later(client: OpenAI) -> None:
    """It is made while nobody waits, and can be streamed again afterwards."""
    made = client.responses.create(**GREEDY, input=QUESTION, max_output_tokens=16, background=True)
    made = until(
        lambda: client.responses.retrieve(made.id),
        "its end",
        lambda seen: seen.status not in ("queued", "in_progress"),
    )
    assert made.output_text
    events = list(client.responses.retrieve(made.id, stream=True))
    assert "".join(e.delta for e in events if e.type == "response.output_text.delta") == made.output_text


def test_curl(demo: Mesh) -> None:
    """By hand, as the README says it."""
    body = json.dumps({"model": CHAT, "input": QUESTION, "max_output_tokens": 8})
    url = f"{demo.base_url}/responses"
    answer = run("curl", "-sSf", url, "-H", "content-type: application/json", "-d", body).stdout
    assert sdk_types.response(json.loads(answer)).output_text
