"""Structured output through the whole mesh, with the official SDK and the demo model."""

import json
import re
from typing import Any, Literal

import openai
import pytest
from openai import OpenAI
from pydantic import BaseModel

from tests.mesh.conftest import CHAT

ASK: list[Any] = [{"role": "user", "content": "Describe a person named Ann, aged 31."}]


class Person(BaseModel):
    """What the SDK asks for."""

    name: Literal["Ann", "Bob"]
    age: int
    kind: bool


def test_the_sdk_parses_what_it_asked_for(client: OpenAI) -> None:
    """`parse` makes a strict schema of a model, and the model of the answer."""
    answer = client.chat.completions.parse(
        model=CHAT, messages=ASK, response_format=Person, max_tokens=80, temperature=1, seed=3, n=2
    )
    for choice in answer.choices:
        assert choice.finish_reason == "stop"
        assert isinstance(choice.message.parsed, Person)


def test_an_address_has_the_pattern_that_zod_gives_it(client: OpenAI) -> None:
    """Its look-ahead holds, and the answer ends in time."""
    pattern = (
        r"^(?!\.)(?!.*\.\.)([A-Za-z0-9_'+\-\.]*)[A-Za-z0-9_+-]@([A-Za-z0-9][A-Za-z0-9\-]*\.)+[A-Za-z]{2,}$"
    )
    part = {"type": "string", "format": "email", "pattern": pattern}
    schema = {"type": "object", "properties": {"email": part}, "required": ["email"]}
    form: Any = {"type": "json_schema", "json_schema": {"name": "p", "strict": True, "schema": schema}}
    answer = client.chat.completions.create(
        model=CHAT, messages=ASK, response_format=form, max_tokens=60, temperature=1, seed=3, n=4
    )
    for choice in answer.choices:
        assert choice.finish_reason == "stop"
        assert re.search(pattern, json.loads(choice.message.content or "")["email"])


def test_streamed_pieces_are_the_whole_answer(client: OpenAI) -> None:
    """And conform, whatever is asked: an object, a schema that is not strict, a text of a list."""
    schema = {
        "type": "object",
        "properties": {"name": {"type": "string", "maxLength": 9}},
        "required": ["name"],
    }
    form: dict[str, Any] = {"type": "json_schema", "json_schema": {"name": "p", "schema": schema}}
    form["json_schema"]["strict"] = False
    asked: dict[str, Any] = {"model": CHAT, "messages": ASK, "max_tokens": 60, "temperature": 0}
    for more in (
        {"response_format": form},
        {"extra_body": {"guided_choice": ["tall", "short"]}},
        {"extra_body": {"structured_outputs": {"regex": "[0-9]{2} years"}}},
        {"extra_body": {"guided_grammar": 'root ::= "Ann" | "Bob"'}},
    ):
        whole = client.chat.completions.create(**asked, **more).choices[0].message.content
        pieces = [
            chunk.choices[0].delta.content or ""
            for chunk in client.chat.completions.create(**asked, **more, stream=True)
        ]
        assert "".join(pieces) == whole
        assert whole
    text = client.completions.create(
        model=CHAT, prompt="{", max_tokens=40, extra_body={"guided_json": {"type": "integer", "maximum": 9}}
    )
    assert json.loads(text.choices[0].text) <= 9


@pytest.mark.parametrize(
    ("body", "param", "word"),
    [
        ({"guided_json": {"uniqueItems": True}}, "guided_json", "'uniqueItems'"),
        ({"guided_regex": r"(?=(a)\1)b"}, "guided_regex", "look-ahead"),
        ({"structured_outputs": {"grammar": "start: nothing"}}, "structured_outputs.grammar", "nothing"),
    ],
)
def test_what_cannot_be_enforced_is_a_400_that_names_it(
    client: OpenAI, body: dict[str, Any], param: str, word: str
) -> None:
    """In the caller's own words."""
    with pytest.raises(openai.BadRequestError, match=word) as caught:
        client.chat.completions.create(model=CHAT, messages=ASK, extra_body=body)
    assert caught.value.param == param
