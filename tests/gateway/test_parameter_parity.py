"""Both doors by the table: what is just outside of a range is refused at each in its own words, and what is
inside at the REST door passes the worker's."""

import math
from collections.abc import Iterator
from typing import Any

import pytest
from google.protobuf.message import Message
from pydantic import ValidationError

from inferloom.parameter_table import ContractField, Meaning, Range, RestParameter
from inferloom.parameters import ENDPOINTS, FIELDS
from inferloom.v1 import inference_pb2 as pb
from inferloom_gateway.http.app import BODIES
from inferloom_gateway.http.errors import from_validation
from inferloom_gateway.http.translate import chat, completions, embeddings
from inferloom_mesh.errors import InferloomError, Reason
from inferloom_worker.validate.embed import read_embed
from inferloom_worker.validate.generate import read_generate

LEAST: dict[str, dict[str, Any]] = {
    "chat": {"model": "m", "messages": [{"role": "user", "content": "Hi"}], "logprobs": True},
    "completions": {"model": "m", "prompt": "Hi"},
    "embeddings": {"model": "m", "input": "Hi"},
}
"""The least bodies that have what other parameters need."""

VOCABULARY = 2**32


def ends(range_: Range, whole: bool) -> tuple[list[float], list[float]]:
    """Numbers just inside and just outside."""
    inside, outside = [], []
    for end, out in ((range_.least, -1), (range_.most, 1)):
        if math.isinf(end):
            continue
        step = out if whole else out * max(1e-3, abs(end) * 1e-3)
        excluded = range_.above and out < 0
        outside.append(end if excluded else end + step)
        inside.append(end - step if excluded else end)
    return inside, outside


def values(shape: str, range_: Range, max_items: int | None) -> Iterator[tuple[bool, Any]]:
    """Pairs of whether it is inside, and a value in JSON."""
    whole = shape not in ("number", "object")
    made: Any = {
        "string": lambda number: "x" * int(number),
        "string|array": lambda number: ["x" * int(number)],
        "array": lambda number: [int(number)],
        "object": lambda number: {"5": number},
        "integer": int,
        "number": float,
    }[shape]
    for inside, numbers in zip((True, False), ends(range_, whole), strict=True):
        for number in numbers:
            if number >= 0 or "string" not in shape:
                yield inside, made(number)
    if max_items is None:
        return
    for count in (max_items, max_items + 1):
        inside = count == max_items
        if shape == "object":
            yield inside, {str(index): 1 for index in range(count)}
        else:
            yield inside, ["x" if "string" in shape else 1] * count


def _shape(row: RestParameter) -> str:
    """Its type in JSON, and of an array whether of texts or numbers."""
    texts = any(field.path == row.field and field.type == "repeated string" for field in FIELDS)
    return "string|array" if texts else row.shape


REST = [
    pytest.param(endpoint.name, row, inside, value, id=f"{endpoint.name}-{row.name}-{inside}-{number}")
    for endpoint in ENDPOINTS
    if endpoint.name in LEAST
    for row in endpoint.parameters.values()
    if row.range is not None and row.meaning is Meaning.FIELD and "." not in row.name
    for number, (inside, value) in enumerate(values(_shape(row), row.range, row.max_items))
]


def requests_of(endpoint: str, body: dict[str, Any]) -> list[Any]:
    """What the gateway asks of workers."""
    schema = next(each for each in BODIES if each.endpoint == endpoint)
    checked: Any = schema.model_validate(body)
    if endpoint == "embeddings":
        return embeddings.batches(checked, "id", 64)
    plan = (chat if endpoint == "chat" else completions).plan(checked, "id", 1)
    return [part.request for part in plan.parts]


@pytest.mark.parametrize(("endpoint", "row", "inside", "value"), REST)
def test_ranges_at_the_rest_door(endpoint: str, row: RestParameter, inside: bool, value: Any) -> None:
    """Outside: INVALID_ARGUMENT at the parameter's name. Inside: the worker takes the request."""
    body = {**LEAST[endpoint], row.name: value}
    if inside:
        for request in requests_of(endpoint, body):
            if isinstance(request, pb.EmbedRequest):
                shape: dict[str, Any] = {
                    "dimensions": max(request.dimensions, 1),
                    "shortens": True,
                    "normalizes": True,
                }
                read_embed(request, vocab_size=VOCABULARY, **shape)
            else:
                read_generate(request, VOCABULARY)
        return
    with pytest.raises(ValidationError) as caught:
        requests_of(endpoint, body)
    error = from_validation(caught.value)
    assert error.reason is Reason.INVALID_ARGUMENT
    assert error.param is not None
    assert error.param.partition("[")[0].partition(".")[0] == row.name
    assert f"'{error.param}'" in error.message


def contract_values(row: ContractField) -> Iterator[tuple[bool, Any]]:
    """Pairs of whether it is inside, and a value of the field, where the field can hold it."""
    assert row.range is not None
    shape = {
        "float": "number",
        "uint32": "integer",
        "sint32": "integer",
        "string": "string",
        "repeated string": "string|array",
        "repeated uint32": "array",
        "map<uint32, float>": "object",
    }[row.type]
    for inside, value in values(shape, row.range, row.max_items):
        if shape == "object":
            yield inside, {int(key): number for key, number in value.items()}
        elif "uint32" not in row.type or all(
            0 <= number < 2**32 for number in (value if isinstance(value, list) else [value])
        ):
            yield inside, value


CONTRACT = [
    pytest.param(row, inside, value, id=f"{row.path}-{inside}-{number}")
    for row in FIELDS
    if row.range is not None and row.request in ("GenerateRequest", "EmbedRequest") and "[]" not in row.path
    for number, (inside, value) in enumerate(contract_values(row))
]


def put(message: Message, path: str, value: Any) -> None:
    """Set a field by its path."""
    *way, name = path.split(".")
    at: Any = message
    for part in way:
        at = getattr(at, part)
    if isinstance(value, dict):
        getattr(at, name).update(value)
    elif isinstance(value, list):
        getattr(at, name).extend(value)
    else:
        setattr(at, name, value)


@pytest.mark.parametrize(("row", "inside", "value"), CONTRACT)
def test_ranges_at_the_workers_door(row: ContractField, inside: bool, value: Any) -> None:
    """Outside: INVALID_ARGUMENT at the field's path, which the message begins with. Inside: accepted."""
    request: Any
    if row.request == "EmbedRequest":
        request = pb.EmbedRequest(model="m", inputs=[pb.EmbedInput(text="Hi")])
    else:
        request = pb.GenerateRequest(model="m", text="Hi", output=pb.OutputOptions(logprobs=True))
    put(request, row.path, value)

    def read() -> object:
        if isinstance(request, pb.EmbedRequest):
            shape: dict[str, Any] = {"dimensions": 2**32 - 1, "shortens": True, "normalizes": True}
            return read_embed(request, vocab_size=VOCABULARY, **shape)
        return read_generate(request, VOCABULARY)

    if inside:
        read()
        return
    with pytest.raises(InferloomError) as caught:
        read()
    assert caught.value.reason is Reason.INVALID_ARGUMENT
    assert caught.value.param is not None
    assert caught.value.param.partition("[")[0] == row.path
    assert caught.value.message.startswith(caught.value.param)


def test_the_cases_are_of_every_ranged_field() -> None:
    """None is left out by the way that cases are made."""
    ranged = {row.path for row in FIELDS if row.range is not None and row.request == "GenerateRequest"}
    rows: list[Any] = [case.values[0] for case in CONTRACT]
    assert {row.path for row in rows} >= ranged
