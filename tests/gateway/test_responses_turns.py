"""Items of responses become the turns that a chat would have; the oldest give way in order."""

from typing import Any

import pytest

from inferloom.v1 import inference_pb2 as pb
from inferloom_gateway.http.schema.responses import ResponseRequest
from inferloom_gateway.http.translate.responses import truncation
from inferloom_gateway.http.translate.responses.items import Item, kept
from inferloom_gateway.http.translate.responses.listing import page
from inferloom_gateway.http.translate.responses.names import Names, response_of
from inferloom_gateway.http.translate.responses.turns import Turn, rename, turns
from inferloom_mesh.errors import InferloomError

NAME = "resp_" + "a" * 30
USER = {"role": "user", "content": "Hi"}
SAID = {"role": "assistant", "content": "Yes"}
THOUGHT = {
    "type": "reasoning",
    "id": "rs_1",
    "summary": [],
    "content": [{"type": "reasoning_text", "text": "Hm"}],
}
CALL = {"type": "function_call", "call_id": "c", "name": "f", "arguments": "{}"}
RESULT = {"type": "function_call_output", "call_id": "c", "output": "1"}


def read(*items: Any, taken: tuple[str, ...] = ()) -> list[Item]:
    """The items as they are kept."""
    body = ResponseRequest.model_validate({"model": "m", "input": list(items)})
    assert body.input is not None
    return kept(body.input, Names(NAME), lambda sealed: None, {}, taken)


def shape(found: list[Turn]) -> list[str]:
    """Each turn as its role's initial and the kinds of its parts."""
    initials = {
        pb.ROLE_SYSTEM: "s",
        pb.ROLE_DEVELOPER: "d",
        pb.ROLE_USER: "u",
        pb.ROLE_ASSISTANT: "a",
        pb.ROLE_TOOL: "t",
    }
    return [
        ":".join(
            [initials[turn.message.role], *(str(part.WhichOneof("part")) for part in turn.message.parts)]
        )
        for turn in found
    ]


@pytest.mark.parametrize(
    ("items", "expected"),
    [
        ([USER], ["u:text"]),
        ([USER, SAID], ["u:text", "a:text"]),
        (
            [USER, THOUGHT, SAID, CALL, CALL, RESULT],
            ["u:text", "a:reasoning:text:tool_call:tool_call", "t:tool_result"],
        ),
        ([USER, THOUGHT, THOUGHT, CALL], ["u:text", "a:reasoning:reasoning:tool_call"]),
        ([USER, SAID, SAID], ["u:text", "a:text", "a:text"]),
        ([USER, SAID, THOUGHT, CALL, RESULT], ["u:text", "a:text", "a:reasoning:tool_call", "t:tool_result"]),
        (
            [USER, CALL, SAID, RESULT, SAID],
            ["u:text", "a:tool_call:text", "t:tool_result", "a:text"],
        ),
        (
            [USER, SAID, CALL, THOUGHT, SAID, RESULT],
            ["u:text", "a:text:tool_call:reasoning:text", "t:tool_result"],
        ),
        ([USER, CALL, RESULT, THOUGHT, SAID], ["u:text", "a:tool_call", "t:tool_result", "a:reasoning:text"]),
        ([{"type": "reasoning", "id": "r", "summary": []}, USER], ["u:text"]),
        ([{"role": "developer", "content": [{"type": "input_text", "text": "x"}] * 2}], ["d:text:text"]),
        ([{"role": "assistant", "content": [{"type": "refusal", "refusal": "No"}]}], ["a:text"]),
    ],
)
def test_what_the_assistant_did_in_a_row_is_one_turn(items: list[Any], expected: list[str]) -> None:
    """Words behind words begin another turn, but not between a call and its result."""
    assert shape(turns(None, [], read(*items))) == expected


def test_errors_name_the_item_that_was_sent() -> None:
    """Paths of the worker's request in the caller's words, whatever stands before the item."""
    past, sent = read(USER, SAID), read(THOUGHT, SAID, CALL, RESULT)
    found = turns("Be brief.", past, sent)
    name = rename(found, [])
    assert [name(f"chat.messages[{index}].parts[0].text") for index in range(5)] == [
        "instructions",
        "previous_response_id",
        "previous_response_id",
        "input[0]",
        "input[3]",
    ]
    assert name("chat.messages") == "input"
    assert name("stopping.max_tokens") == "max_output_tokens"
    assert name("sampling.temperature") == "temperature"


def test_every_item_has_a_name_of_its_own() -> None:
    """Names that items bring are kept, but where another item has them; ours tell their response."""
    items = read(
        {**SAID, "id": "msg_1"}, {**SAID, "id": "msg_1"}, USER, {**CALL, "id": "fc_old"}, taken=("fc_old",)
    )
    names = [item["id"] for item in items]
    assert names[0] == "msg_1"
    assert len(set(names)) == 4
    assert [response_of(name) for name in names] == [None, NAME, NAME, NAME]


@pytest.mark.parametrize(
    ("item", "param"),
    [
        ({"role": "user"}, "input[0].content"),
        ({"content": "x"}, "input[0].role"),
        ({"type": "function_call", "call_id": "c", "arguments": "{}"}, "input[0].name"),
        ({"type": "function_call_output", "call_id": "c"}, "input[0].output"),
        ({"role": "user", "content": [{"type": "input_audio"}]}, "input[0].content[0]"),
        ({"role": "user", "content": [{"type": "poem", "text": "x"}]}, "input[0].content[0].type"),
        ({"role": "user", "content": [{"type": "input_text"}]}, "input[0].content[0].text"),
        ({"type": "reasoning", "id": "r", "encrypted_content": "x"}, "input[0].encrypted_content"),
    ],
)
def test_what_an_item_lacks_is_named(item: Any, param: str) -> None:
    """A missing field, another medium, reasoning that does not open."""
    with pytest.raises(InferloomError) as caught:
        read(item)
    assert caught.value.param == param


def test_the_oldest_exchanges_give_way_first() -> None:
    """Then steps of the last exchange. Instructions, the last question and the last step stay."""
    found = turns("S", [], read(SAID, USER, SAID, USER, CALL, RESULT, CALL, RESULT, CALL, RESULT))
    assert shape(found) == [
        *("s:text", "a:text", "u:text", "a:text", "u:text"),
        *("a:tool_call", "t:tool_result") * 3,
    ]
    dropped = [shape(group) for group in truncation.droppable(found)]
    step = ["a:tool_call", "t:tool_result"]
    assert dropped == [["a:text"], ["u:text", "a:text"], step, step]


@pytest.mark.parametrize("items", [[USER], [{"role": "system", "content": "x"}], [CALL, RESULT]])
def test_what_is_needed_stays(items: list[Any]) -> None:
    """A single question, instructions alone, or a single step cannot be left out."""
    assert truncation.droppable(turns("S", [], read(*items))) == []


def test_items_are_listed_in_pages() -> None:
    """Either order, after an item, with the ends named and whether there are more."""
    items = [{"id": str(number), "type": "message"} for number in range(5)]

    def ids(found: dict[str, Any]) -> list[str]:
        return [item["id"] for item in found["data"]]

    first = page(items, None, 2, ascending=False)
    assert (ids(first), first["first_id"], first["last_id"], first["has_more"]) == (
        ["4", "3"],
        "4",
        "3",
        True,
    )
    rest = page(items, "3", 10, ascending=False)
    assert (ids(rest), rest["has_more"]) == (["2", "1", "0"], False)
    assert ids(page(items, "3", 10, ascending=True)) == ["4"]
    assert page(items, "4", 10, ascending=True)["last_id"] == ""
    with pytest.raises(InferloomError, match="no item 'x'"):
        page(items, "x", 10, ascending=True)
