"""What each of the four users does first, on the real models."""

import json
import shlex
from collections.abc import Callable

import grpc
import httpx
import pytest
from openai import OpenAI

from inferloom.v1 import inference_pb2 as pb
from inferloom.v1.inference_pb2_grpc import InferenceServiceStub
from inferloom_cli.curl import curl_line
from inferloom_cli.mesh_report import ModelReport
from inferloom_mesh.net import Address
from tests.mesh.conftest import CHAT, EMBEDDER
from tests.mesh.processes import REPORT_FIELDS, Mesh, grpcurl, inferloom, messages, run
from tests.patience import PATIENCE_S

QUESTION = "What is the capital of France?"
GENERATE = "inferloom.v1.InferenceService/Generate"
REQUEST = json.dumps(
    {
        "model": CHAT,
        "chat": {"messages": [{"role": "ROLE_USER", "parts": [{"text": QUESTION}]}]},
        "sampling": {"temperature": 0},
        "stopping": {"max_tokens": 32},
    }
)


def test_up_reports_what_it_made(demo: Mesh) -> None:
    """Every field of the report is there, and the time that it took."""
    assert set(REPORT_FIELDS) == set(demo.made)
    assert demo.made["seconds"] > 0


def test_up_prints_what_is_ready_and_a_line_to_paste(demo: Mesh) -> None:
    """The panel holds every address, and the line works as it is printed."""
    output = demo.output
    for address in (demo.made["rest"], demo.grpc, demo.registry, demo.worker):
        assert address in output
    line = curl_line(
        Address.parse(demo.made["rest"]),
        [ModelReport(m["id"], tuple(m["capabilities"])) for m in demo.made["models"]],
    )
    assert line is not None
    assert line in output
    answer = json.loads(run(*shlex.split(line)).stdout)
    assert "Paris" in answer["choices"][0]["message"]["content"]


def test_what_up_calls_ready_is_ready(up: Callable[..., Mesh]) -> None:
    """Health says so from the first moment, and a name that nobody serves is denied and not put off."""
    mesh = up("--model", "echo=echo")
    rest = mesh.made["rest"]
    assert httpx.get(f"http://{rest}/health", timeout=PATIENCE_S).status_code == 200
    body = {"model": "nobody", "messages": [{"role": "user", "content": "x"}]}
    assert httpx.post(f"http://{rest}/v1/chat/completions", json=body, timeout=PATIENCE_S).status_code == 404


def test_the_openai_sdk_hears_paris(client: OpenAI) -> None:
    """Only the base URL is changed."""
    answer = client.chat.completions.create(
        model=CHAT, messages=[{"role": "user", "content": QUESTION}], temperature=0, max_tokens=32
    )
    assert "Paris" in (answer.choices[0].message.content or "")


def test_a_grpc_client_with_typed_stubs_hears_paris(channel: grpc.Channel) -> None:
    """The event grammar holds: started, deltas, finished, completed."""
    request = pb.GenerateRequest(
        model=CHAT,
        chat=pb.ChatInput(
            messages=[pb.ChatMessage(role=pb.ROLE_USER, parts=[pb.ContentPart(text=QUESTION)])]
        ),
        sampling=pb.SamplingOptions(temperature=0),
        stopping=pb.StoppingOptions(max_tokens=32),
    )
    events = list(InferenceServiceStub(channel).Generate(request, timeout=PATIENCE_S))
    kinds = [event.WhichOneof("event") for event in events if not event.HasField("heartbeat")]
    assert (kinds[0], kinds[-2], kinds[-1]) == ("started", "finished", "completed")
    assert set(kinds[1:-2]) == {"delta"}
    assert "Paris" in "".join(event.delta.text for event in events)


@pytest.mark.parametrize("face", ["gateway", "worker"])
def test_grpcurl_hears_paris(demo: Mesh, face: str) -> None:
    """Messages in, tokens streamed out, with no tokenizer at hand; from the gateway and from a worker."""
    address = demo.grpc if face == "gateway" else demo.worker
    events = messages(grpcurl(address, GENERATE, data=REQUEST))
    assert "Paris" in "".join(event.get("delta", {}).get("text", "") for event in events)


def test_the_command_line_hears_paris(demo: Mesh) -> None:
    """A message as a flag, and a message from a pipe."""
    flags = ("chat", "--gateway", demo.grpc, "--temperature", "0", "--max-tokens", "32")
    assert "Paris" in inferloom(*flags, "-m", QUESTION)
    assert "Paris" in inferloom(*flags, stdin=QUESTION)


def test_the_command_line_embeds(demo: Mesh) -> None:
    """JSON into a pipe: one vector of unit length for each text."""
    vectors = json.loads(inferloom("embed", "a cat", "a kitten", "--gateway", demo.grpc))
    assert [len(vector) for vector in vectors] == [384, 384]
    assert sum(x * x for x in vectors[0]) == pytest.approx(1, abs=1e-4)
    assert sum(x * y for x, y in zip(*vectors, strict=True)) > 0.5


def test_the_command_line_lists_models_and_workers(demo: Mesh) -> None:
    """Both demo models on one worker."""
    models = inferloom("models", "--gateway", demo.grpc, "--registry", demo.registry)
    assert CHAT in models
    assert EMBEDDER in models
    [worker] = json.loads(inferloom("ps", "--registry", demo.registry, "--json"))["workers"]
    assert worker["worker"]["state"] == "WORKER_STATE_READY"
    assert {CHAT, EMBEDDER} == {model["id"] for model in worker["worker"]["models"]}
    assert "worker-1" in inferloom("ps", "--registry", demo.registry)


def test_pulling_a_model_that_is_here_says_where(demo: Mesh) -> None:
    """It is not fetched again."""
    assert inferloom("pull", CHAT).startswith(f"{CHAT}: /")
