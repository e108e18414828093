"""Log-probabilities of prompts, through the OpenAI SDK and gRPC: those that transformers gives."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
import torch

from inferloom.v1 import inference_pb2 as pb
from tests.wire.adapted_mesh import AdaptedMesh, adapted_mesh, make_base
from tests.wire.running_worker import limited, refused, running_worker, text_request
from tests.worker.models import reference

pytestmark = pytest.mark.asyncio(loop_scope="module")

PROMPT = "Hé, 🌍!"
IDS = list(PROMPT.encode())
"""The model reads bytes."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny random model."""
    return make_base(tmp_path_factory.mktemp("base"))


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def mesh(folder: Path) -> AsyncIterator[AdaptedMesh]:
    """It, served in float32."""
    async with adapted_mesh(folder) as running:
        yield running


@pytest.fixture(scope="module")
def model(folder: Path) -> Any:
    """It, in transformers."""
    return reference(folder)


def own(model: Any, ids: list[int]) -> list[float]:
    """Transformers' log-probability of each token but the first."""
    with torch.inference_mode():
        rows = model(torch.tensor([ids])).logits[0, :-1].log_softmax(-1)
    return [float(row[token]) for row, token in zip(rows, ids[1:], strict=True)]


async def completed(mesh: AdaptedMesh, **fields: Any) -> Any:
    """One completion; greedy unless said."""
    values = {"model": "base", "prompt": PROMPT, "temperature": 0, **fields}
    return await mesh.openai.completions.create(**values)


def joined(parts: list[dict[str, Any]]) -> dict[str, Any]:
    """Lists of the same name, one after the other."""
    return {name: [item for part in parts for item in part[name]] for name in parts[0]}


@pytest.mark.parametrize("prompt", [PROMPT, IDS])
@pytest.mark.parametrize("max_tokens", [0, 1, 6])
async def test_echo_repeats_the_prompt_with_its_logprobs(
    mesh: AdaptedMesh, model: Any, prompt: Any, max_tokens: int
) -> None:
    """An entry for each token that was read or written, the first without a number; streamed, too."""
    asked: dict[str, Any] = {"prompt": prompt, "max_tokens": max_tokens, "logprobs": 2, "echo": True, "n": 2}
    extra = {"return_token_ids": True, "ignore_eos": True}
    whole = await completed(mesh, **asked, extra_body=extra)
    stream = await completed(mesh, **asked, stream=True, extra_body=extra)
    chunks = [choice async for chunk in stream for choice in chunk.choices]
    for choice in whole.choices:
        found = choice.logprobs.model_dump()
        ids = IDS + choice.token_ids
        assert len(choice.token_ids) == max_tokens
        assert choice.prompt_token_ids == IDS
        assert {len(each) for each in found.values()} == {len(ids)}
        assert (found["token_logprobs"][0], found["top_logprobs"][0]) == (None, None)
        assert found["token_logprobs"][1:] == pytest.approx(own(model, ids), abs=1e-3)
        assert found["tokens"][:3] == ["H", r"bytes:\xc3", r"bytes:\xa9"]
        assert found["text_offset"][:6] == [0, 1, 1, 2, 3, 4]
        assert found["text_offset"][len(IDS) - 1 :][:2] == [5, 6][: 1 + bool(max_tokens)]
        assert [len(top) in (2, 3) for top in found["top_logprobs"][1:]] == [True] * (len(ids) - 1)
        assert choice.text.startswith(PROMPT)
        mine = [each for each in chunks if each.index == choice.index]
        streamed = joined([each.logprobs.model_dump() for each in mine if each.logprobs])
        for name in ("tokens", "text_offset"):
            assert streamed[name] == found[name]
        assert streamed["token_logprobs"][1:] == pytest.approx(found["token_logprobs"][1:], abs=1e-4)
        assert [*map(len, streamed["top_logprobs"][1:])] == [*map(len, found["top_logprobs"][1:])]
        assert "".join(each.text for each in mine) == choice.text
        assert [token for each in mine for token in each.token_ids] == choice.token_ids
        assert mine[0].prompt_token_ids == IDS
    assert whole.system_fingerprint.startswith("fp_")
    assert whole.usage.completion_tokens == 2 * max_tokens


async def test_a_batch_of_prompts_as_lm_eval_sends_it(mesh: AdaptedMesh, model: Any) -> None:
    """Token ids, one token more, and each prompt's own entries."""
    prompts = [[1, 2, 3, 200], [7, 7], [250, 0, 9]]
    answer = await completed(mesh, prompt=prompts, max_tokens=1, logprobs=1, echo=True, seed=1234)
    for prompt, choice in zip(prompts, answer.choices, strict=True):
        numbers = choice.logprobs.token_logprobs
        assert len(numbers) == len(prompt) + 1
        assert numbers[1:-1] == pytest.approx(own(model, prompt), abs=1e-3)
        greedy = [
            number == max(top.values())
            for number, top in zip(numbers[1:], choice.logprobs.top_logprobs[1:], strict=True)
        ]
        assert greedy[-1]


async def test_a_token_that_ends_a_choice_has_its_entry_after_a_prompt(mesh: AdaptedMesh) -> None:
    """Whoever cuts the last entry off cuts nothing of the prompt."""
    (ended,) = (
        await completed(mesh, max_tokens=1, logprobs=0, extra_body={"return_token_ids": True})
    ).choices
    stop = ended.logprobs.model_dump()["tokens"]
    extra = {"stop_token_ids": ended.token_ids}
    answer = await completed(mesh, max_tokens=4, logprobs=0, echo=True, extra_body=extra)
    assert len(answer.choices[0].logprobs.tokens) == len(IDS) + 1
    assert answer.choices[0].logprobs.tokens[-1:] == stop
    assert answer.choices[0].logprobs.top_logprobs[1:] == [
        {token: number}
        for token, number in zip(
            answer.choices[0].logprobs.tokens[1:], answer.choices[0].logprobs.token_logprobs[1:], strict=True
        )
    ]


async def test_vllms_prompt_logprobs(mesh: AdaptedMesh, model: Any) -> None:
    """By token id, with rank and text; of a chat for its rendered prompt."""
    answer = await completed(mesh, max_tokens=1, extra_body={"prompt_logprobs": 2})
    (choice,) = answer.choices
    assert choice.prompt_logprobs[0] is None
    mine = [each[str(token)] for each, token in zip(choice.prompt_logprobs[1:], IDS[1:], strict=True)]
    assert [each["logprob"] for each in mine] == pytest.approx(own(model, IDS), abs=1e-3)
    for each in choice.prompt_logprobs[1:]:
        ranks = sorted(entry["rank"] for entry in each.values())
        assert ranks[:2] == [1, 2]
        best = max(entry["logprob"] for entry in each.values())
        assert [entry["logprob"] for entry in each.values() if entry["rank"] == 1] == [best]
    assert choice.logprobs is None
    with pytest.raises(Exception, match="prompt_logprobs is not available when stream is true"):
        await completed(mesh, stream=True, extra_body={"prompt_logprobs": 2})


async def test_tokens_may_be_named_by_their_ids(mesh: AdaptedMesh) -> None:
    """In log-probabilities, where two tokens may have one text."""
    extra = {"return_tokens_as_token_ids": True}
    answer = await completed(mesh, max_tokens=1, logprobs=1, echo=True, extra_body=extra)
    assert answer.choices[0].logprobs.tokens[: len(IDS)] == [f"token_id:{token}" for token in IDS]


async def test_the_likeliest_of_several_are_shown(mesh: AdaptedMesh) -> None:
    """By the mean over their tokens; all of them are counted, and their numbers are not shown unasked."""
    asked: dict[str, Any] = {"max_tokens": 5, "temperature": 1.0, "seed": 7, "logprobs": 0}
    every = (await completed(mesh, n=6, **asked)).choices
    means = [sum(c.logprobs.token_logprobs) / len(c.logprobs.token_logprobs) for c in every]
    order = sorted(range(6), key=lambda index: -means[index])
    best = await completed(mesh, n=2, best_of=6, **asked)
    assert [choice.text for choice in best.choices] == [every[index].text for index in order[:2]]
    assert [choice.index for choice in best.choices] == [0, 1]
    assert best.usage.completion_tokens == 30
    del asked["logprobs"]
    silent = await completed(mesh, n=1, best_of=6, **asked)
    assert (silent.choices[0].text, silent.choices[0].logprobs) == (best.choices[0].text, None)


async def test_streams_tell_the_usage_so_far(mesh: AdaptedMesh) -> None:
    """In each chunk where that is wanted, and in the last in any case."""
    options: Any = {"include_usage": True, "continuous_usage_stats": True}
    stream = await completed(
        mesh, max_tokens=5, stream=True, stream_options=options, extra_body={"ignore_eos": True}
    )
    counts = [chunk.usage.completion_tokens async for chunk in stream if chunk.usage]
    assert counts == sorted(counts)
    assert counts[-1] == 5
    assert len(counts) > 2


async def test_grpc_callers_get_parts_before_the_first_delta(mesh: AdaptedMesh) -> None:
    """In order, each at most a megabyte; and the ids alone where nothing else is asked for."""
    ids = [index % 250 for index in range(400)]
    request = pb.GenerateRequest(
        model="base",
        token_ids=pb.TokenIds(ids=ids),
        output=pb.OutputOptions(prompt_logprobs=20, echo=True),
        sampling=pb.SamplingOptions(n=2),
        **limited(2),
    )
    answer = await mesh.worker.generate(request)
    kinds = [event.WhichOneof("event") for event in answer.events]
    parts = answer.all("prompt")
    assert kinds[: len(parts) + 3] == ["started", *["prompt"] * len(parts), "delta", "delta"]
    assert len(parts) > 1
    assert [part.token_index for part in parts] == [
        sum(len(before.token_ids) for before in parts[:place]) for place in range(len(parts))
    ]
    assert [token for part in parts for token in part.token_ids] == ids
    entries = [entry for part in parts for entry in part.logprobs]
    assert [entry.token_id for entry in entries] == ids
    assert (entries[0].logprob, entries[0].rank, len(entries[0].top)) == (0, 0, 0)
    assert all(len(entry.top) == 20 and entry.rank for entry in entries[1:])

    request.output.CopyFrom(pb.OutputOptions(prompt_token_ids=True))
    (part,) = (await mesh.worker.generate(request)).all("prompt")
    assert (list(part.token_ids), len(part.logprobs)) == (ids, 0)


async def test_special_tokens_may_be_shown(mesh: AdaptedMesh) -> None:
    """As text, where the answer goes on after them."""
    for skip, text in ((True, ""), (False, "<|turn|>" * 2)):
        request = text_request(
            "a",
            model="base",
            sampling=pb.SamplingOptions(logit_bias={257: 100}, temperature=0),
            output=pb.OutputOptions(skip_special_tokens=skip),
            stopping=pb.StoppingOptions(max_tokens=2, ignore_eos=True),
        )
        assert (await mesh.worker.generate(request)).text() == text


async def test_an_engine_without_a_model_cannot_and_says_so() -> None:
    """Neither its card nor its answers pretend."""
    async with running_worker("echo") as worker:
        (card,) = (await worker.stub.ListModels(pb.ListModelsRequest())).models
        assert "prompt_logprobs" not in card.supported_parameters
        assert "top_logprobs" in card.supported_parameters
        error = await refused(
            worker.stub.Generate(text_request("a", output=pb.OutputOptions(prompt_logprobs=0)))
        )
        assert (error.param, error.reason.name) == ("output.prompt_logprobs", "UNSUPPORTED_PARAMETER")


async def test_an_answer_with_thousands_of_entries_has_them_all(mesh: AdaptedMesh) -> None:
    """It is written on a thread, and comes out as smaller ones do."""
    ids = [index % 250 for index in range(450)]
    answer = await completed(mesh, prompt=ids, max_tokens=0, logprobs=0, echo=True, n=5)
    numbers = [choice.logprobs.token_logprobs for choice in answer.choices]
    assert [len(each) for each in numbers] == [450] * 5
    assert numbers[1:] == numbers[:1] * 4
