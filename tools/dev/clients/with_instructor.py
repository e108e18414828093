"""instructor: answers as pydantic models."""

import instructor
from jobs import KEY, MODEL, URL, job, run
from openai import OpenAI
from pydantic import BaseModel, Field

ASKED = [{"role": "user", "content": "Ada Lovelace is 36 years old."}]


class Person(BaseModel):
    """Who is spoken of."""

    name: str = Field(description="The name.", max_length=40)
    age: int = Field(ge=0, le=150)


def _asked(mode: instructor.Mode) -> None:
    client = instructor.from_openai(OpenAI(base_url=URL, api_key=KEY), mode=mode)
    person = client.chat.completions.create(
        model=MODEL, messages=ASKED, response_model=Person, max_tokens=96, temperature=0, max_retries=0
    )
    assert isinstance(person, Person)


@job
def tools() -> None:
    _asked(instructor.Mode.TOOLS)


@job
def strict_tools() -> None:
    _asked(instructor.Mode.TOOLS_STRICT)


@job
def json_schema() -> None:
    _asked(instructor.Mode.JSON_SCHEMA)


@job
def partial() -> None:
    client = instructor.from_openai(OpenAI(base_url=URL, api_key=KEY), mode=instructor.Mode.TOOLS)
    parts = list(
        client.chat.completions.create_partial(
            model=MODEL, messages=ASKED, response_model=Person, max_tokens=96, temperature=0, max_retries=0
        )
    )
    assert parts[-1].name is not None


run()
