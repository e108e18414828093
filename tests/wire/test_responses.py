"""/v1/responses by the official SDK and by hand: bodies, typed events, conversations that go on."""

import asyncio
from typing import Any

import openai
import pytest
from openai.types.responses import ResponseOutputMessage

from inferloom.v1 import inference_pb2 as pb
from inferloom_mesh.errors import InferloomError, Reason, invalid
from tests.patience import PATIENCE_S
from tests.wire import sdk_types
from tests.wire.fake_worker import WORDS, FakeWorker, completed, delta, finished, hang, refuse, started
from tests.wire.gateway_mesh import GatewayMesh, gateway_mesh
from tests.wire.response_streams import MODEL, PATH, everything, says, streamed, whole

pytestmark = pytest.mark.asyncio(loop_scope="module")

SAID = "".join(WORDS)
_TEXT = [f"output_text.{step}" for step in ("delta", "delta", "done")]
_REASONING = [f"reasoning_text.{step}" for step in ("delta", "delta", "done")]
_ARGUMENTS = [f"function_call_arguments.{step}" for step in ("delta", "delta", "done")]


def _item(*within: str) -> list[str]:
    return ["output_item.added", *within, "output_item.done"]


ORDER = [
    *("created", "in_progress"),
    *_item("content_part.added", *_REASONING, "content_part.done"),
    *_item("content_part.added", *_TEXT, "content_part.done"),
    *_item(*_ARGUMENTS),
    *_item(*_ARGUMENTS),
    "completed",
]


@pytest.fixture
def mesh(shared_mesh: GatewayMesh) -> GatewayMesh:
    """One gateway for all tests here."""
    return shared_mesh


async def test_the_sdk_makes_a_response(mesh: GatewayMesh) -> None:
    """responses.create returns the text, the usage and what was asked."""
    async with mesh.openai() as client:
        made = await client.responses.create(
            model=MODEL, input="Hello!", instructions="Be brief.", temperature=0.5, metadata={"a": "b"}
        )
    assert made.output_text == SAID
    assert made.status == "completed"
    assert made.usage is not None
    assert (made.usage.input_tokens, made.usage.output_tokens, made.usage.total_tokens) == (7, 3, 10)
    assert made.usage.input_tokens_details.cached_tokens == 2
    assert (made.instructions, made.temperature, made.metadata) == ("Be brief.", 0.5, {"a": "b"})
    assert list(sdk_types.left_over(made)) == []
    asked = mesh.worker.requests[0]
    assert [message.role for message in asked.chat.messages] == [pb.ROLE_SYSTEM, pb.ROLE_USER]
    assert asked.sampling.temperature == 0.5


async def test_the_synchronous_sdk_streams_a_response(mesh: GatewayMesh) -> None:
    """responses.stream assembles the same response that create returns."""

    def use(client: openai.OpenAI) -> Any:
        with client.responses.stream(model=MODEL, input="Hello!") as stream:
            texts = [event.delta for event in stream if event.type == "response.output_text.delta"]
            return texts, stream.get_final_response()

    texts, final = await mesh.in_thread(use)
    assert texts == list(WORDS)
    assert final.output_text == SAID


async def test_events_come_in_openais_order(mesh: GatewayMesh) -> None:
    """Reasoning, text and calls: every item is opened, told in pieces and closed before the next."""
    mesh.worker.script = everything
    events = await streamed(mesh, input="Hi")
    assert [event["type"] for event in events] == [f"response.{kind}" for kind in ORDER]


async def test_streamed_is_not_streamed(mesh: GatewayMesh) -> None:
    """The last event has the response that the same request gets in one body, and its pieces add up to it."""
    mesh.worker.script = everything
    wanted = {"input": "Hi", "include": ["message.output_text.logprobs"], "top_logprobs": 1}
    events, body = await streamed(mesh, **wanted), await whole(mesh, **wanted)
    final = events[-1]["response"]
    for mine, other in zip(final["output"], body["output"], strict=True):
        assert {**mine, "id": ""} == {**other, "id": ""}
    assert final["usage"] == body["usage"]
    done = [event["item"] for event in events if event["type"] == "response.output_item.done"]
    assert done == final["output"]
    for index, item in enumerate(final["output"]):
        deltas = [e for e in events if e.get("output_index") == index and e["type"].endswith(".delta")]
        text = item["arguments"] if item["type"] == "function_call" else item["content"][0]["text"]
        assert "".join(event["delta"] for event in deltas) == text
        assert {event["item_id"] for event in deltas} == {item["id"]}
    told = [
        entry for event in events for entry in event.get("logprobs", ()) if event["type"].endswith("delta")
    ]
    assert [entry["token"] for entry in told] == ["é", "!"]
    assert [entry["bytes"] for entry in final["output"][1]["content"][0]["logprobs"]] == [[195, 169], [33]]


async def test_a_conversation_goes_on_from_a_response(mesh: GatewayMesh) -> None:
    """Three turns by previous_response_id reach the worker as a chat with the whole history does."""
    mesh.worker.script = everything
    async with mesh.openai() as client:
        first = await client.responses.create(model=MODEL, input="Weather?", instructions="Old.")
        results: Any = [
            {"type": "function_call_output", "call_id": f"call_{index}", "output": "sunny"}
            for index in (0, 1)
        ]
        mesh.worker.script = says("Sunny.")
        second = await client.responses.create(model=MODEL, input=results, previous_response_id=first.id)
        third: Any = await client.responses.create(
            model=MODEL, input="Thanks!", previous_response_id=second.id, instructions="New."
        )
        calls = [
            {
                "id": f"call_{index}",
                "type": "function",
                "function": {"name": name, "arguments": '{"city": "Paris"}'},
            }
            for index, name in enumerate(("weather", "time-of-day"))
        ]
        history: Any = [
            {"role": "system", "content": "New."},
            {"role": "user", "content": "Weather?"},
            {
                "role": "assistant",
                "content": "é! Now",
                "reasoning_content": "Let me think.",
                "tool_calls": calls,
            },
            {"role": "tool", "tool_call_id": "call_0", "content": "sunny"},
            {"role": "tool", "tool_call_id": "call_1", "content": "sunny"},
            {"role": "assistant", "content": "Sunny."},
            {"role": "user", "content": "Thanks!"},
        ]
        await client.chat.completions.create(model=MODEL, messages=history)
        assert third.previous_response_id == second.id
        listed = [item async for item in client.responses.input_items.list(third.id, order="asc", limit=2)]
    *_, response, chat = mesh.worker.requests
    assert response.chat == chat.chat
    assert [item.type for item in listed] == [
        "message",
        "reasoning",
        "message",
        "function_call",
        "function_call",
        "function_call_output",
        "function_call_output",
        "message",
        "message",
    ]
    assert len({item.id for item in listed}) == 9
    assert list(sdk_types.left_over(listed)) == []


async def test_output_sent_back_is_the_same_conversation(mesh: GatewayMesh) -> None:
    """A client that keeps the items itself, as openai-agents does, gets the same prompt."""
    mesh.worker.script = everything
    async with mesh.openai() as client:
        first = await client.responses.create(model=MODEL, input="Hi")
        sent: Any = [
            {"role": "user", "content": "Hi"},
            *(item.model_dump(exclude_unset=True) for item in first.output),
            {
                "type": "function_call_output",
                "call_id": "call_0",
                "output": [{"type": "input_text", "text": "1"}],
            },
        ]
        await client.responses.create(model=MODEL, input=sent, store=False)
        more: Any = [{"type": "function_call_output", "call_id": "call_0", "output": "1"}]
        await client.responses.create(model=MODEL, input=more, previous_response_id=first.id)
    alone, kept = mesh.worker.requests[1:]
    assert alone.chat == kept.chat


async def test_encrypted_reasoning_comes_back(mesh: GatewayMesh) -> None:
    """A stateless client sends back what it cannot read, and the model reads its reasoning again; what was
    changed is refused."""
    mesh.worker.script = everything
    made = await whole(mesh, input="Hi", store=False, include=["reasoning.encrypted_content"])
    thought = made["output"][0]
    sealed = thought["encrypted_content"]
    assert "think" not in sealed
    item = {"type": "reasoning", "id": thought["id"], "summary": [], "encrypted_content": sealed}
    said = {"role": "assistant", "content": "é!"}
    await whole(mesh, input=[{"role": "user", "content": "Hi"}, item, said], store=False)
    assert [part.WhichOneof("part") for part in mesh.worker.requests[-1].chat.messages[1].parts] == [
        "reasoning",
        "text",
    ]
    assert mesh.worker.requests[-1].chat.messages[1].parts[0].reasoning == "Let me think."
    changed = sealed[:40] + ("A" if sealed[40] != "A" else "B") + sealed[41:]
    answer = await mesh.http.post(
        PATH, json={"model": MODEL, "input": [{**item, "encrypted_content": changed}]}
    )
    assert answer.status_code == 400
    assert answer.json()["error"]["param"] == "input[0].encrypted_content"


async def test_retrieve_and_delete(mesh: GatewayMesh) -> None:
    """A kept response is found until it is deleted; one with store=false never is."""
    async with mesh.openai() as client:
        made = await client.responses.create(model=MODEL, input="Hi")
        found = await client.responses.retrieve(made.id)
        assert found.to_dict() == made.to_dict()
        await client.responses.delete(made.id)
        unkept = await client.responses.create(model=MODEL, input="Hi", store=False)
        for name in (made.id, unkept.id, "resp_nonsense"):
            with pytest.raises(openai.NotFoundError) as caught:
                await client.responses.retrieve(name)
            assert name in str(caught.value)
        with pytest.raises(openai.NotFoundError) as caught:
            await client.responses.create(model=MODEL, input="Hi", previous_response_id=made.id)
        assert caught.value.param == "previous_response_id"


async def test_reasoning_is_encrypted_for_who_asks_later(mesh: GatewayMesh) -> None:
    """retrieve and input_items with include give encrypted_content, and without it none."""
    mesh.worker.script = everything
    async with mesh.openai() as client:
        made = await client.responses.create(model=MODEL, input="Hi", include=["reasoning.encrypted_content"])
        plain = await client.responses.retrieve(made.id)
        sealed = await client.responses.retrieve(made.id, include=["reasoning.encrypted_content"])
    assert made.output[0].type == plain.output[0].type == sealed.output[0].type == "reasoning"
    assert made.output[0].encrypted_content
    assert plain.output[0].encrypted_content is None
    assert sealed.output[0].encrypted_content


async def test_items_are_referred_to(mesh: GatewayMesh) -> None:
    """An item_reference stands for an item of a kept response; one that is not kept is a 404."""
    made = await whole(mesh, input="Hi")
    reference = {"type": "item_reference", "id": made["output"][0]["id"]}
    await whole(mesh, input=[{"role": "user", "content": "Hi"}, reference])
    assert mesh.worker.requests[-1].chat.messages[1].parts[0].text == SAID
    answer = await mesh.http.post(PATH, json={"model": MODEL, "input": [{"id": "msg_other"}]})
    assert answer.status_code == 404
    assert answer.json()["error"]["param"] == "input[0].id"


async def test_input_tokens_are_counted(mesh: GatewayMesh) -> None:
    """responses.input_tokens.count reads what create would: here a character is a token."""
    async with mesh.openai() as client:
        counted = await client.responses.input_tokens.count(model=MODEL, input="Hello", instructions="Hi")
    assert counted.input_tokens == 7
    assert [type(request) for request in mesh.worker.requests] == [pb.TokenizeRequest]


async def test_who_leaves_ends_the_work(mesh: GatewayMesh) -> None:
    """A stream that nobody reads any more frees its worker."""
    mesh.worker.script = hang
    mesh.worker.cancelled.clear()
    async with mesh.openai() as client:
        async with await client.responses.create(model=MODEL, input="Hi", stream=True) as stream:
            async for event in stream:
                if event.type == "response.output_text.delta":
                    break
        await asyncio.wait_for(mesh.worker.cancelled.wait(), PATIENCE_S)


@pytest.mark.parametrize(
    ("asked", "has", "priority", "shown"),
    [
        ("flex", -10, -10, "flex"),
        ("fast", 0, 10, "default"),
        ("priority", 10, 10, "priority"),
        (None, 0, 0, "default"),
    ],
)
async def test_the_tier_that_it_was_made_in_is_told(
    mesh: GatewayMesh, asked: str | None, has: int, priority: int, shown: str
) -> None:
    """By the priority that the worker gave it, which may have been capped."""

    async def gives(worker: FakeWorker, request: pb.GenerateRequest) -> Any:
        event = started(request, worker.id)
        event.started.priority = has
        yield event
        yield finished()
        yield completed()

    mesh.worker.script = gives
    made = await whole(mesh, input="Hi", service_tier=asked, prompt_cache_key="k")
    assert made["service_tier"] == shown
    assert made["prompt_cache_key"] == "k"
    assert (mesh.worker.requests[0].priority, mesh.worker.requests[0].prompt_cache_key) == (priority, "k")


async def test_a_length_is_incomplete(mesh: GatewayMesh) -> None:
    """What ends at its limit says so, in the response, in its item and by the last event."""
    mesh.worker.script = says("Once", reason=pb.FINISH_REASON_LENGTH)
    events = await streamed(mesh, input="Hi", max_output_tokens=1)
    assert events[-1]["type"] == "response.incomplete"
    final = events[-1]["response"]
    assert (final["status"], final["incomplete_details"]) == ("incomplete", {"reason": "max_output_tokens"})
    assert final["output"][0]["status"] == "incomplete"
    assert mesh.worker.requests[0].stopping.max_tokens == 1


async def test_a_deadline_is_told_beside_a_length(mesh: GatewayMesh) -> None:
    """And kept with the response."""
    mesh.worker.script = says("Once", reason=pb.FINISH_REASON_DEADLINE)
    made = await whole(mesh, input="Hi")
    told = {"reason": "max_output_tokens", "stop_reason": "deadline"}
    assert (made["status"], made["incomplete_details"]) == ("incomplete", told)
    assert (await mesh.http.get(f"{PATH}/{made['id']}")).json()["incomplete_details"] == told


async def test_nothing_said_is_an_empty_message(mesh: GatewayMesh) -> None:
    """A model that ends at once gives a message without text, which clients can read."""
    mesh.worker.script = says()
    async with mesh.openai() as client:
        made = await client.responses.create(model=MODEL, input="Hi")
    assert isinstance(made.output[0], ResponseOutputMessage)
    assert made.output_text == ""


async def test_a_refusal_is_an_http_error_in_the_callers_words(mesh: GatewayMesh) -> None:
    """What a worker refuses names the item that was sent."""
    for param, name in (
        ("chat.messages[1].parts[0].text", "input[0]"),
        ("chat.messages[0]", "instructions"),
        ("chat.tools[0].name", "tools[0].name"),
        ("stopping.max_tokens", "max_output_tokens"),
        ("constraint.json_schema", "text.format.schema"),
    ):
        mesh.worker.script = refuse(invalid(param, f"{param} is wrong."))
        for stream in (False, True):
            body = {"model": MODEL, "input": "Hi", "instructions": "x", "stream": stream}
            answer = await mesh.http.post(PATH, json=body)
            assert answer.status_code == 400
            assert answer.json()["error"]["param"] == name
            assert name in answer.json()["error"]["message"]


async def test_a_failure_on_the_way_is_the_last_event() -> None:
    """response.failed, with the error in words; nothing is kept."""

    async def fails(worker: FakeWorker, request: pb.GenerateRequest) -> Any:
        yield started(request, worker.id)
        yield delta("Once")
        raise InferloomError(Reason.SERVER_ERROR, "The engine broke.")

    async with gateway_mesh(FakeWorker(script=fails)) as mesh:
        events = await streamed(mesh, input="Hi")
        assert events[-1]["type"] == "response.failed"
        final = events[-1]["response"]
        assert final["error"] == {"code": "server_error", "message": "The engine broke."}
        assert final["output"][0]["status"] == "incomplete"
        assert (await mesh.http.get(f"{PATH}/{final['id']}")).status_code == 404


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({}, "input"),
        ({"input": []}, "input"),
        ({"input": "x", "prompt": {"id": "p"}}, "prompt"),
        ({"input": "x", "conversation": "c"}, "conversation"),
        ({"input": "x", "context_management": [{"type": "compaction"}]}, "context_management"),
        ({"input": "x", "moderation": {"model": "m"}}, "moderation"),
        ({"input": "x", "include": ["web_search_call.action.sources"]}, "include[0]"),
        ({"input": "x", "tools": [{"type": "web_search"}]}, "tools[0]"),
        ({"input": "x", "tools": [{"type": "mcp", "server_label": "x"}]}, "tools[0]"),
        ({"input": "x", "tool_choice": {"type": "file_search"}}, "tool_choice"),
        ({"input": "x", "tool_choice": {"type": "function", "name": "f"}}, "tool_choice.name"),
        ({"input": [{"type": "web_search_call", "id": "x", "action": {}}]}, "input[0]"),
        ({"input": [{"type": "computer_call_output", "output": {}}]}, "input[0]"),
        (
            {"input": [{"role": "user", "content": [{"type": "input_image", "image_url": "x"}]}]},
            "input[0].content[0]",
        ),
        (
            {"input": [{"role": "user", "content": [{"type": "input_file", "file_id": "x"}]}]},
            "input[0].content[0]",
        ),
        ({"input": [{"type": "function_call", "name": "f", "arguments": "{}"}]}, "input[0].call_id"),
        ({"input": [{"role": "tool", "content": "x"}]}, "input[0].role"),
        ({"input": "x", "text": {"format": {"type": "json_schema", "name": "n"}}}, "text.format.schema"),
        ({"input": "x", "background": True, "store": False}, "background"),
        ({"input": "x", "temperature": 3}, "temperature"),
        ({"input": "x", "max_output_tokens": 0}, "max_output_tokens"),
        ({"input": "x", "metadata": {"k": "v" * 513}}, "metadata.k"),
        ({"input": "x", "truncation": "sometimes"}, "truncation"),
    ],
)
async def test_what_is_not_here_is_refused_by_name(
    mesh: GatewayMesh, body: dict[str, Any], param: str
) -> None:
    """Built-in tools, their items, other services and wrong values: 400 at the parameter's place."""
    answer = await mesh.http.post(PATH, json={"model": MODEL, **body})
    assert answer.status_code == 400, answer.text
    assert answer.json()["error"]["param"] == param
    assert mesh.worker.requests == []


async def test_without_a_store_nothing_is_kept() -> None:
    """--no-store: a response is made and says that it is not kept; what needs a store answers in words."""
    async with gateway_mesh(FakeWorker(), no_store=True) as mesh:
        made = await whole(mesh, input="Hi", include=["reasoning.encrypted_content"])
        assert made["store"] is False
        answer = await mesh.http.get(f"{PATH}/{made['id']}")
        assert answer.status_code == 404
        assert "--no-store" in answer.text
        for more in ({"previous_response_id": made["id"]}, {"background": True}):
            answer = await mesh.http.post(PATH, json={"model": MODEL, "input": "Hi", **more})
            assert answer.status_code in (400, 404)
            assert "--no-store" in answer.text
            assert answer.json()["error"]["param"] in more
