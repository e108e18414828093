"""Parameters on a worker over real gRPC: a model's own sampling values, and requests for or of no tokens."""

import json
import logging
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from inferloom.v1 import inference_pb2 as pb
from inferloom_mesh.errors import Reason
from tests.wire.adapted_mesh import adapted_mesh, make_base
from tests.wire.running_worker import RunningWorker, limited, refused, running_worker, text_request

pytestmark = pytest.mark.asyncio(loop_scope="module")


def drawn(answer: Any) -> dict[str, Any]:
    """The sampling values that an answer says it was drawn with."""
    (started,) = answer.all("started")
    return {field.name: pytest.approx(value) for field, value in started.sampling.ListFields()}


USUAL = {
    "temperature": 1,
    "top_p": 1,
    "top_k": 0,
    "min_p": 0,
    "presence_penalty": 0,
    "frequency_penalty": 0,
    "repetition_penalty": 1,
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny model that has a token with which documents begin, and sampling values of its own."""
    path = make_base(tmp_path_factory.mktemp("base"))
    (path / "tokenizer_config.json").write_text(json.dumps({"bos_token": "<|turn|>"}))
    return path


def says(folder: Path, **values: Any) -> None:
    """Let the model's files say this of sampling."""
    (folder / "generation_config.json").write_text(json.dumps({"max_new_tokens": 3, **values}))


async def answer(folder: Path, request: pb.GenerateRequest, **settings: Any) -> tuple[Any, pb.Model]:
    """One answer of the model, and its card."""
    async with running_worker(f"base={folder}", dtype="float32", **settings) as worker:
        (card,) = (await worker.stub.ListModels(pb.ListModelsRequest())).models
        return await worker.generate(request), card


def ask(**sampling: Any) -> pb.GenerateRequest:
    """A request for four tokens."""
    return text_request("hello", model="base", sampling=pb.SamplingOptions(**sampling), **limited(4))


async def test_silent_requests_are_drawn_with_the_models_own_values(folder: Path) -> None:
    """The request first, then the model's files, then OpenAI's defaults; Started and the card tell."""
    own = {"temperature": 0.6, "top_p": 0.9, "top_k": 20, "min_p": 0.05, "repetition_penalty": 1.1}
    says(folder, do_sample=True, **own)
    answered, card = await answer(folder, ask(top_p=0.5))

    assert drawn(answered) == {**USUAL, **own, "top_p": 0.5}
    assert {field.name: pytest.approx(value) for field, value in card.sampling_defaults.ListFields()} == own
    assert len(answered.tokens()) == 4  # max_new_tokens is not taken


async def test_a_model_that_does_not_sample_is_greedy(folder: Path) -> None:
    """Two silent requests with different seeds say the same."""
    says(folder, do_sample=False, temperature=0.6)
    async with running_worker(f"base={folder}", dtype="float32") as worker:
        first, second = [await worker.generate(ask(seed=seed)) for seed in (1, 2)]
    assert first.tokens() == second.tokens()
    assert drawn(first)["temperature"] == 0


async def test_the_models_own_values_can_be_switched_off(folder: Path) -> None:
    """``--generation-config openai``."""
    says(folder, temperature=0.6, do_sample=False)
    answered, card = await answer(folder, ask(), generation_config="openai")
    assert drawn(answered) == USUAL
    assert not card.HasField("sampling_defaults")


@pytest.mark.parametrize(
    "values",
    [
        {"temperature": "hot", "top_k": 20.5, "top_p": 0, "min_p": True, "repetition_penalty": 1e9},
        {"temperature": 1e400, "top_k": -7, "top_p": [1], "min_p": {}, "repetition_penalty": 0},
    ],
)
async def test_a_value_that_no_request_could_have_is_passed_over(
    folder: Path, values: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    """With a log line each; the model is served."""
    says(folder, **values)
    with caplog.at_level(logging.WARNING):
        answered, card = await answer(folder, ask())
    assert drawn(answered) == USUAL
    assert not card.HasField("sampling_defaults")
    assert all(any(name in message for message in caplog.messages) for name in values)


async def test_null_and_a_top_k_of_minus_1_say_nothing(folder: Path) -> None:
    """As transformers and vLLM read them."""
    says(folder, top_k=-1, temperature=None, top_p=1.0)
    answered, _ = await answer(folder, ask())
    assert drawn(answered) == USUAL


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def worker(folder: Path) -> AsyncIterator[RunningWorker]:
    """The model, and one without a token that begins a document."""
    says(folder)
    async with running_worker(f"base={folder}", "echo", dtype="float32") as running:
        yield running


@pytest.mark.parametrize("model", ["base", "echo"])
@pytest.mark.parametrize("echo", [False, True])
async def test_no_tokens_can_be_asked_for(model: str, echo: bool, worker: RunningWorker) -> None:
    """The answer is the prompt's length, and with echo its text; nothing is generated."""
    request = text_request(
        "hello",
        model=model,
        sampling=pb.SamplingOptions(n=2),
        output=pb.OutputOptions(echo=echo),
        **limited(0),
    )
    answer = await worker.generate(request)

    assert [answer.text(choice) for choice in (0, 1)] == ["hello" if echo else ""] * 2
    assert [(end.reason, end.completion_tokens) for end in answer.all("finished")] == [
        (pb.FINISH_REASON_LENGTH, 0),
        (pb.FINISH_REASON_LENGTH, 0),
    ]
    usage = answer.all("completed")[0].usage
    assert (usage.prompt_tokens, usage.completion_tokens) == (5, 0)
    assert answer.all("started")[0].prompt_tokens == 5


async def test_no_tokens_are_at_least_none(worker: RunningWorker) -> None:
    """A minimum over it contradicts; a prompt as long as the context fits, and a longer one does not."""
    request = text_request("hello", **limited(0, min_tokens=1))
    assert (await refused(worker.stub.Generate(request))).param == "stopping.min_tokens"
    full = await worker.generate(text_request("x" * 8192, **limited(0)))
    assert full.all("completed")[0].usage.prompt_tokens == 8192
    over = await refused(worker.stub.Generate(text_request("x" * 8193, **limited(0))))
    assert over.reason is Reason.CONTEXT_LENGTH_EXCEEDED


async def test_text_without_tokens_begins_a_document(worker: RunningWorker) -> None:
    """Where the model has a token for that; it counts as the prompt."""
    answer = await worker.generate(text_request("", model="base", **limited(3)))
    tokens = pb.GenerateRequest(
        model="base",
        token_ids=pb.TokenIds(ids=[257]),
        sampling=pb.SamplingOptions(temperature=0),
        **limited(3),
    )
    request = text_request("", model="base", sampling=pb.SamplingOptions(temperature=0), **limited(3))

    assert answer.all("started")[0].prompt_tokens == 1
    assert (await worker.generate(request)).tokens() == (await worker.generate(tokens)).tokens()


async def test_text_without_tokens_is_refused_where_nothing_begins_a_document(worker: RunningWorker) -> None:
    """With the cause."""
    error = await refused(worker.stub.Generate(text_request("")))
    assert (error.reason, error.param) == (Reason.INVALID_ARGUMENT, "text")
    assert error.message == "text has no tokens, and the model has none that begins a document."


async def test_an_openai_client_can_ask_for_the_prompt_alone(folder: Path) -> None:
    """Through the gateway: ``max_tokens: 0`` with echo, as one body and as a stream; and an empty prompt."""
    async with adapted_mesh(folder) as mesh:
        await mesh.until_listed("base")
        ask: Any = partial(mesh.openai.completions.create, model="base", prompt=["ab", "c"], max_tokens=0)
        whole = await ask(echo=True)
        chunks = [chunk async for chunk in await ask(echo=True, stream=True)]
        empty = await mesh.openai.completions.create(model="base", prompt="", max_tokens=2)

    assert [(choice.text, choice.finish_reason) for choice in whole.choices] == [
        ("ab", "length"),
        ("c", "length"),
    ]
    assert (whole.usage.prompt_tokens, whole.usage.completion_tokens) == (3, 0)
    said = [(choice.index, choice.text) for chunk in chunks for choice in chunk.choices if choice.text]
    assert sorted(said) == [(0, "ab"), (1, "c")]
    assert empty.usage is not None
    assert (empty.usage.prompt_tokens, empty.usage.completion_tokens) == (1, 2)
