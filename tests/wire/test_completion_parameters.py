"""Parameters of completions on a real model: the same effect through the OpenAI SDK and through gRPC."""

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import openai
import pytest
import pytest_asyncio
from tokenizers import AddedToken

from inferloom.v1 import inference_pb2 as pb
from inferloom_worker.text.bytes_tokenizer import bytes_tokenizer
from tests.wire.adapted_mesh import AdaptedMesh, adapted_mesh
from tests.wire.running_worker import Answer, limited, refused, running_worker, text_request
from tests.worker.models import make_model

pytestmark = pytest.mark.asyncio(loop_scope="module")

MARKS = ("<fim_prefix>", "<fim_suffix>", "<fim_middle>", "<fim_pad>")
PRE, SUF, MID, PAD = range(258, 262)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny random model that reads bytes, and marks for text that is filled in."""
    path = make_model(tmp_path_factory.mktemp("base"), "llama", vocab_size=262)
    backend = bytes_tokenizer()._backend
    backend.add_special_tokens([AddedToken(text, normalized=False, special=True) for text in MARKS])
    backend.save(str(path / "tokenizer.json"))
    settings = {"chat_template": bytes_tokenizer().chat_template}
    (path / "tokenizer_config.json").write_text(json.dumps(settings))
    return path


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def mesh(folder: Path) -> AsyncIterator[AdaptedMesh]:
    """It, served in float32, with drafts wherever there is a guess."""
    async with adapted_mesh(folder, speculation=4, max_priority=5) as running:
        yield running


async def text(mesh: AdaptedMesh, **fields: Any) -> Any:
    """One completion by the SDK, with its token ids."""
    extra = {"return_token_ids": True, "ignore_eos": True, **fields.pop("extra_body", {})}
    values = {"model": "base", "prompt": "hello", "max_tokens": 40, "seed": 3, **fields}
    return await mesh.openai.completions.create(**values, extra_body=extra)


async def grpc(mesh: AdaptedMesh, prompt: str = "hello", **fields: Any) -> Answer:
    """One completion by gRPC."""
    values: dict[str, Any] = {"output": pb.OutputOptions(prompt_token_ids=True), **fields}
    values.setdefault("stopping", pb.StoppingOptions(max_tokens=40, ignore_eos=True))
    sampling = pb.SamplingOptions(seed=3)
    sampling.MergeFrom(values.pop("sampling", pb.SamplingOptions()))
    return await mesh.worker.generate(text_request(prompt, model="base", sampling=sampling, **values))


async def test_only_allowed_tokens_are_drawn(mesh: AdaptedMesh) -> None:
    """Greedy and drawn; with nothing left to draw it is the caller's fault."""
    allowed = [97, 98, 99]
    for temperature in (0, 1):
        by_sdk = await text(mesh, temperature=temperature, extra_body={"allowed_token_ids": allowed})
        options = pb.SamplingOptions(allowed_token_ids=allowed, temperature=temperature)
        assert set(by_sdk.choices[0].token_ids) <= set(allowed)
        assert (await grpc(mesh, sampling=options)).tokens() == by_sdk.choices[0].token_ids
    with pytest.raises(openai.BadRequestError, match="none may come here"):
        await text(mesh, extra_body={"allowed_token_ids": [97], "bad_words": ["a"]})
    with pytest.raises(openai.BadRequestError, match=r"allowed_token_ids\[1\] names token 262"):
        await text(mesh, extra_body={"allowed_token_ids": [97, 262]})


async def test_bad_words_do_not_come(mesh: AdaptedMesh) -> None:
    """Neither letters nor sequences of them."""
    confined: dict[str, Any] = {"allowed_token_ids": list(b"ab "), "bad_words": ["aa", "bab"]}
    by_sdk = await text(mesh, max_tokens=30, extra_body=confined)
    said = by_sdk.choices[0].text
    assert len(said) == 30
    assert "aa" not in said
    assert "bab" not in said
    assert "ba" in said
    options = pb.SamplingOptions(**confined)
    again = await grpc(mesh, sampling=options, stopping=pb.StoppingOptions(max_tokens=30, ignore_eos=True))
    assert again.text() == said


async def test_a_prompt_may_be_cut_to_its_end(mesh: AdaptedMesh) -> None:
    """To a number of tokens, or to what the context has room for."""
    cut = await text(
        mesh, prompt="abcdefgh", echo=True, max_tokens=1, extra_body={"truncate_prompt_tokens": 3}
    )
    assert cut.choices[0].prompt_token_ids == list(b"fgh")
    assert cut.choices[0].text.startswith("fgh")
    assert cut.usage.prompt_tokens == 3
    long = "x" * 600 + "y"
    room = await text(mesh, prompt=long, max_tokens=12, extra_body={"truncate_prompt_tokens": -1})
    assert room.usage.prompt_tokens == 500
    by_grpc = await grpc(mesh, long, truncate_prompt_tokens=0, **limited(12))
    assert by_grpc.all("started")[0].prompt_tokens == 500
    ids = await text(mesh, prompt=[120] * 1000, max_tokens=1, extra_body={"truncate_prompt_tokens": 7})
    assert ids.usage.prompt_tokens == 7
    with pytest.raises(openai.BadRequestError, match="truncate_prompt_tokens"):
        await text(mesh, extra_body={"truncate_prompt_tokens": 0})
    with pytest.raises(openai.BadRequestError, match="maximum context length"):
        await text(mesh, prompt=long)


@pytest.mark.parametrize("kind", ["text", "parts"])
async def test_a_prediction_saves_steps_and_changes_nothing(mesh: AdaptedMesh, kind: str) -> None:
    """The tokens that it foresaw are in the usage."""
    asked: dict[str, Any] = {
        "model": "base",
        "messages": [{"role": "user", "content": "Hi"}],
        "max_tokens": 40,
        "seed": 3,
    }
    extra = {"allowed_token_ids": list(b"abcdefgh \n")}
    create: Any = mesh.openai.chat.completions.create
    plain = await create(**asked, extra_body=extra)
    said = plain.choices[0].message.content
    parts = [{"type": "text", "text": part} for part in (said[:9], said[9:])]
    content = said if kind == "text" else parts
    foreseen = await create(**asked, prediction={"type": "content", "content": content}, extra_body=extra)
    assert foreseen.choices[0].message.content == said
    details = foreseen.usage.completion_tokens_details
    assert details.accepted_prediction_tokens > 25
    assert (
        details.accepted_prediction_tokens > plain.usage.completion_tokens_details.accepted_prediction_tokens
    )
    with pytest.raises(openai.BadRequestError, match="prediction"):
        await create(**asked, prediction={"type": "file", "content": "x"})


async def test_a_prediction_over_grpc(mesh: AdaptedMesh) -> None:
    """As by the SDK."""
    options = pb.SamplingOptions(allowed_token_ids=list(b"abcdefgh \n"))
    plain = await grpc(mesh, sampling=options)
    foreseen = await grpc(mesh, sampling=options, prediction=plain.text())
    assert foreseen.tokens() == plain.tokens()
    assert foreseen.all("completed")[0].usage.accepted_draft_tokens > 25


async def test_text_is_filled_in_before_a_suffix(mesh: AdaptedMesh) -> None:
    """By the marks of the model's tokenizer; its card says that it can, and a pad ends what was filled in."""
    (card,) = [model async for model in mesh.openai.models.list()]
    assert "suffix" in getattr(card, "supported_parameters")  # noqa: B009 # the SDK's type has no such field
    answer = await text(mesh, prompt="def f():", suffix="return x", echo=True, max_tokens=4)
    read = [PRE, *b"def f():", SUF, *b"return x", MID]
    assert answer.choices[0].prompt_token_ids == read
    assert answer.choices[0].text.startswith("def f():")
    assert answer.usage.prompt_tokens == len(read)
    by_grpc = await grpc(mesh, "def f():", suffix="return x")
    (prompt,) = by_grpc.all("prompt")
    assert list(prompt.token_ids) == read
    ended = await grpc(
        mesh,
        suffix="x",
        sampling=pb.SamplingOptions(logit_bias={PAD: 100}, temperature=0),
        **limited(9),
    )
    assert ended.all("finished")[0].reason == pb.FINISH_REASON_STOP
    with pytest.raises(openai.BadRequestError, match="suffix needs text as input") as caught:
        await text(mesh, prompt=[1, 2], suffix="x")
    assert caught.value.param == "suffix"


async def test_a_model_that_cannot_fill_in_refuses_a_suffix_by_name() -> None:
    """So do engines for what they cannot do; their cards do not list it."""
    async with running_worker("echo") as worker:
        (card,) = (await worker.stub.ListModels(pb.ListModelsRequest())).models
        asked: dict[str, dict[str, Any]] = {
            "suffix": {"suffix": "x"},
            "prediction": {"prediction": "x"},
            "sampling.bad_words": {"sampling": pb.SamplingOptions(bad_words=["x"])},
            "sampling.allowed_token_ids": {"sampling": pb.SamplingOptions(allowed_token_ids=[1])},
        }
        for name, fields in asked.items():
            assert name.rpartition(".")[2] not in card.supported_parameters
            error = await refused(worker.stub.Generate(text_request("a", **fields)))
            assert (error.param, error.reason.name) == (name, "UNSUPPORTED_PARAMETER")
        cut = await worker.generate(text_request("abcdef", truncate_prompt_tokens=2, **limited(4)))
        assert cut.text() == "efef"


@pytest.mark.parametrize(
    ("asked", "priority", "tier"),
    [
        ({"service_tier": "flex"}, -10, "flex"),
        ({"service_tier": "priority"}, 5, "priority"),
        ({"service_tier": "auto"}, 0, "default"),
        ({"service_tier": "flex", "extra_body": {"priority": -3}}, 3, "priority"),
        ({"extra_body": {"priority": 7}}, -7, None),
    ],
)
async def test_a_chat_says_in_which_tier_it_was_answered(
    mesh: AdaptedMesh, asked: dict[str, Any], priority: int, tier: str | None
) -> None:
    """In one body and in chunks, within the limit of the worker. Lower in REST is higher in the contract."""
    values: dict[str, Any] = {
        "model": "base",
        "messages": [{"role": "user", "content": "Hi"}],
        "max_tokens": 2,
        **asked,
    }
    whole = await mesh.openai.chat.completions.create(**values)
    chunks = [chunk async for chunk in await mesh.openai.chat.completions.create(**values, stream=True)]
    assert whole.service_tier == tier
    assert {chunk.service_tier for chunk in chunks} == {tier}
    (started,) = (await grpc(mesh, priority=priority)).all("started")
    assert started.priority == priority
