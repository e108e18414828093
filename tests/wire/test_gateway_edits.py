"""Edits, what is known of a model and of its tokenizer, and what is not served, over a real gateway."""

from typing import Any

import pytest
from openai import AsyncOpenAI, PermissionDeniedError

from inferloom.v1 import inference_pb2 as pb
from inferloom_mesh.errors import InferloomError, Reason
from tests.wire.fake_worker import CHAT, FakeWorker, refuse
from tests.wire.gateway_mesh import GatewayMesh, gateway_mesh

pytestmark = pytest.mark.asyncio(loop_scope="module")

EDIT: dict[str, Any] = {"model": "chat-model", "input": "I is here", "instruction": "Mend it", "n": 2}
TEXT_ONLY = pb.Model(id="text-model", tasks=[pb.TASK_COMPLETION], context_length=64)


@pytest.fixture
def mesh(shared_mesh: GatewayMesh) -> GatewayMesh:
    """One gateway for all tests here."""
    return shared_mesh


async def test_an_edit_is_a_turn_with_text_and_instruction(mesh: GatewayMesh) -> None:
    """Each choice is a way to edit it."""
    answer = (await mesh.http.post("/v1/edits", json={**EDIT, "temperature": 0.5, "top_p": 0})).json()

    assert (answer["object"], [choice["index"] for choice in answer["choices"]]) == ("edit", [0, 1])
    assert answer["choices"][0]["text"] == "Hello, wörld 🌍"
    assert answer["usage"]["total_tokens"] == 7 + 6
    asked = mesh.worker.requests[-1]
    assert (asked.sampling.n, asked.sampling.temperature, asked.sampling.top_k) == (2, 0.5, 1)
    (message,) = asked.chat.messages
    assert "Mend it" in message.parts[0].text
    assert "I is here" in message.parts[0].text


async def test_an_edit_without_a_text_is_its_instruction(mesh: GatewayMesh) -> None:
    """As OpenAI's has an empty input where none is given."""
    answer = await mesh.http.post("/v1/edits", json={"model": "chat-model", "instruction": "Write a haiku"})
    assert answer.status_code == 200
    assert mesh.worker.requests[-1].chat.messages[0].parts[0].text.endswith("Instruction: Write a haiku")


async def test_a_model_without_turns_edits_too() -> None:
    """It continues a text, up to where another example would begin."""
    async with gateway_mesh(FakeWorker(models=(TEXT_ONLY,))) as mesh:
        answer = await mesh.http.post("/v1/edits", json={**EDIT, "model": "text-model", "n": 1})
        assert answer.json()["choices"][0]["text"] == "Hello, wörld 🌍"
        assert "Mend it" in mesh.worker.requests[-1].text
        assert list(mesh.worker.requests[-1].stopping.stop) == ["\n\nInstruction:", "\n\nText:"]


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"instruction": "x"}, "model"),
        ({"model": "chat-model"}, "instruction"),
        ({**EDIT, "n": 0}, "n"),
        ({**EDIT, "temperature": 3}, "temperature"),
        ({**EDIT, "tools": [{}]}, "tools"),
    ],
)
async def test_a_bad_edit_is_refused_at_its_field(mesh: GatewayMesh, body: Any, param: str) -> None:
    """As at every endpoint."""
    answer = await mesh.http.post("/v1/edits", json=body)
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, param)


async def test_a_text_that_is_too_long_to_edit_is_called_input(mesh: GatewayMesh) -> None:
    """The caller knows of no messages."""
    message = "chat.messages has too many tokens."
    mesh.worker.script = refuse(
        InferloomError(Reason.CONTEXT_LENGTH_EXCEEDED, message, param="chat.messages")
    )
    error = (await mesh.http.post("/v1/edits", json=EDIT)).json()["error"]
    assert (error["param"], error["message"]) == ("input", "input has too many tokens.")


async def test_a_tokenizer_is_described_at_both_doors(mesh: GatewayMesh) -> None:
    """In the names of tokenizer_config.json over REST."""
    answer = (await mesh.http.get("/tokenizer_info", params={"model": "chat-model"})).json()
    told = await mesh.stub.GetTokenizer(pb.GetTokenizerRequest(model="chat-model"))

    assert answer["tokenizer_class"] == told.tokenizer_class == "PreTrainedTokenizerFast"
    assert (answer["eos_token"], answer["chat_template"]) == ("<|end|>", "{{ messages }}")
    assert answer["added_tokens_decoder"]["2"]["special"] is True
    assert answer["add_bos_token"] is False
    assert answer["model_max_length"] == told.context_length == 512


async def test_a_tokenizer_is_of_a_model(mesh: GatewayMesh) -> None:
    """Which one must be said where there are several."""
    answer = await mesh.http.get("/tokenizer_info")
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, "model")
    answer = await mesh.http.get("/tokenizer_info", params={"model": "none"})
    assert (answer.status_code, answer.json()["error"]["code"]) == (404, "model_not_found")
    async with gateway_mesh(FakeWorker(models=(CHAT,))) as alone:
        assert (await alone.http.get("/tokenizer_info")).json()["model"] == "chat-model"


async def test_a_model_is_told_with_its_workers() -> None:
    """What each worker's lease says, and the names that it has besides."""
    adapted, alias = pb.Model(), pb.Model()
    adapted.CopyFrom(CHAT)
    adapted.adapters.append("tuned")
    adapted.compute_hash, adapted.engine, adapted.vocabulary_size = "c" * 16, "kernels", 300
    adapted.longest_step.FromMilliseconds(250)
    alias.CopyFrom(adapted)
    alias.id, alias.alias_of = "gpt-4o", "chat-model"
    async with gateway_mesh(FakeWorker("a", (adapted, alias)), FakeWorker("b", (adapted,))) as mesh:
        model = (await mesh.http.get("/v1/models/chat-model")).json()
        assert (model["engine"], model["architecture"], model["longest_step_s"]) == ("kernels", None, 0.25)
        assert (model["adapters"], model["aliases"], model["alias_of"]) == (["tuned"], ["gpt-4o"], None)
        assert model["workers"][0] == {
            "id": "a",
            "state": "ready",
            "lease": "active",
            "reachable": True,
            "capacity": 8,
            "load": 0,
            "compute_hash": "c" * 16,
        }
        assert [worker["id"] for worker in model["workers"]] == ["a", "b"]
        other = (await mesh.http.get("/v1/models/gpt-4o")).json()
        assert (other["alias_of"], [worker["id"] for worker in other["workers"]]) == ("chat-model", ["a"])


async def test_no_model_is_deleted(mesh: GatewayMesh) -> None:
    """The refusal says who unloads it."""
    client: AsyncOpenAI = mesh.openai()
    with pytest.raises(PermissionDeniedError, match="inferloom unload chat-model"):
        await client.models.delete("chat-model")
    await client.close()


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/v1/images/generations"),
        ("POST", "/v1/audio/speech"),
        ("POST", "/v1/moderations"),
        ("GET", "/v1/assistants"),
        ("POST", "/v1/threads"),
        ("POST", "/v1/conversations"),
        ("POST", "/v1/uploads"),
        ("POST", "/v1/realtime/sessions"),
        ("GET", "/v1/fine_tuning/jobs"),
        ("POST", "/v1/vector_stores/vs_1/search"),
        ("POST", "/v1/messages"),
        ("POST", "/v1/messages/count_tokens"),
        ("POST", "/moderations"),
    ],
)
async def test_what_other_apis_have_is_not_served_here(mesh: GatewayMesh, method: str, path: str) -> None:
    """The answer says so, and what is."""
    answer = await mesh.http.request(method, path, json={} if method == "POST" else None)
    assert (answer.status_code, answer.json()["error"]["code"]) == (404, "not_found")
    message = answer.json()["error"]["message"]
    assert message.startswith(f"{method} {path} is not served here. What is: /v1/")
    assert "/v1/chat/completions" in message


async def test_a_wrong_method_hears_of_all_methods(mesh: GatewayMesh) -> None:
    """Of every handler of the path."""
    answer = await mesh.http.put("/v1/models/chat-model", json={})
    assert (answer.status_code, answer.headers["allow"]) == (405, "DELETE, GET, HEAD")
