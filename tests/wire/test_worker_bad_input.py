"""Bad input to a worker over gRPC: the error table's answer, and the next request is fine."""

import math
from collections.abc import AsyncIterator
from typing import Any

import grpc
import pytest
import pytest_asyncio

from inferloom.v1 import inference_pb2 as pb
from inferloom_mesh.errors import Reason
from tests.wire.running_worker import (
    RunningWorker,
    chat_request,
    error_of,
    limited,
    refused,
    running_worker,
    text_request,
)

pytestmark = pytest.mark.asyncio(loop_scope="module")

NAN, INF = math.nan, math.inf
INVALID, UNSUPPORTED = Reason.INVALID_ARGUMENT, Reason.UNSUPPORTED_PARAMETER


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def worker() -> AsyncIterator[RunningWorker]:
    """One worker for all of them."""
    async with running_worker("echo") as running:
        yield running


@pytest_asyncio.fixture(autouse=True, loop_scope="module")
async def _the_next_request_is_fine(worker: RunningWorker) -> AsyncIterator[None]:
    yield
    assert (await worker.generate(text_request("ok", **limited(2)))).text() == "ok"
    assert (await worker.status()).load.running == 0


def sampling(**fields: Any) -> pb.GenerateRequest:
    """A request with sampling options."""
    return text_request(sampling=pb.SamplingOptions(**fields))


def tokens(*ids: int) -> pb.GenerateRequest:
    """A request with token ids."""
    return pb.GenerateRequest(model="echo", token_ids=pb.TokenIds(ids=ids))


AT = "resume.choices[0]"


def resumed(*, stopping: pb.StoppingOptions | None = None, **committed: Any) -> pb.GenerateRequest:
    """A request of which one choice has something already."""
    resume = pb.Resume(choices=[pb.ResumedChoice(**committed)])
    return text_request(resume=resume, stopping=stopping)


GENERATE: dict[str, tuple[pb.GenerateRequest, Reason, str]] = {
    "unknown model": (text_request(model="nope"), Reason.MODEL_NOT_FOUND, "model"),
    "no model": (text_request(model=""), INVALID, "model"),
    "no input": (pb.GenerateRequest(model="echo"), INVALID, "input"),
    "empty text": (text_request(""), INVALID, "text"),
    "empty messages": (chat_request(), INVALID, "chat.messages"),
    "no tokens": (tokens(), INVALID, "token_ids.ids"),
    "token out of vocabulary": (tokens(1, 2, 258), INVALID, "token_ids.ids[2]"),
    "largest token": (tokens(2**32 - 1), INVALID, "token_ids.ids[0]"),
    "temperature NaN": (sampling(temperature=NAN), INVALID, "sampling.temperature"),
    "temperature infinite": (sampling(temperature=INF), INVALID, "sampling.temperature"),
    "top_p over 1": (sampling(top_p=1.5), INVALID, "sampling.top_p"),
    "penalty NaN": (sampling(presence_penalty=NAN), INVALID, "sampling.presence_penalty"),
    "bias of unknown token": (sampling(logit_bias={9999: 1}), INVALID, "sampling.logit_bias[9999]"),
    "bias NaN": (sampling(logit_bias={9: NAN}), INVALID, "sampling.logit_bias[9]"),
    "a million choices": (sampling(n=10**6), INVALID, "sampling.n"),
    "no choice": (sampling(n=0), INVALID, "sampling.n"),
    "empty stop": (text_request(stopping=pb.StoppingOptions(stop=[""])), INVALID, "stopping.stop[0]"),
    "prompt over context": (text_request("x" * 8192), Reason.CONTEXT_LENGTH_EXCEEDED, "text"),
    "ten megabytes": (text_request("x " * 5 * 2**20), Reason.CONTEXT_LENGTH_EXCEEDED, "text"),
    "chat over context": (chat_request("x" * 9000), Reason.CONTEXT_LENGTH_EXCEEDED, "chat.messages"),
    "brackets over context": (chat_request("[" * 100_000), Reason.CONTEXT_LENGTH_EXCEEDED, "chat.messages"),
    "max_tokens over context": (
        text_request(**limited(8192)),
        Reason.CONTEXT_LENGTH_EXCEEDED,
        "stopping.max_tokens",
    ),
    "all the tokens there are": (
        text_request(**limited(2**32 - 1)),
        Reason.CONTEXT_LENGTH_EXCEEDED,
        "stopping.max_tokens",
    ),
    "constraint": (text_request(constraint=pb.Constraint(json_object=True)), UNSUPPORTED, "constraint"),
    "priority": (text_request(priority=101), INVALID, "priority"),
    "cache salt": (text_request(cache_salt="é" * 65), INVALID, "cache_salt"),
    "a prompt's token out of vocabulary": (
        text_request(resume=pb.Resume(prompt_token_ids=[1, 258])),
        INVALID,
        "resume.prompt_token_ids[1]",
    ),
    "a longer prompt than the context": (
        text_request(resume=pb.Resume(prompt_token_ids=[1] * 8193)),
        INVALID,
        "resume.prompt_token_ids",
    ),
    "a committed token out of vocabulary": (resumed(token_ids=[1, 258]), INVALID, f"{AT}.token_ids[1]"),
    "nothing committed": (resumed(), INVALID, f"{AT}.token_ids"),
    "a choice that is not": (resumed(choice=1, token_ids=[1]), INVALID, f"{AT}.choice"),
    "more committed than asked for": (
        resumed(token_ids=[104] * 9, stopping=pb.StoppingOptions(max_tokens=8)),
        INVALID,
        f"{AT}.token_ids",
    ),
    "more committed than fits": (resumed(token_ids=[1] * 8192), INVALID, f"{AT}.token_ids"),
    "committed past its end": (
        resumed(token_ids=b"ab!c", stopping=pb.StoppingOptions(stop=["!"])),
        INVALID,
        f"{AT}.token_ids",
    ),
    "committed past its stop token": (
        resumed(token_ids=b"abc", stopping=pb.StoppingOptions(stop_token_ids=b"b")),
        INVALID,
        f"{AT}.token_ids",
    ),
    "a choice twice": (
        text_request(resume=pb.Resume(choices=[pb.ResumedChoice(token_ids=[1])] * 2)),
        INVALID,
        "resume.choices[1].choice",
    ),
    "too many committed choices": (
        text_request(resume=pb.Resume(choices=[pb.ResumedChoice(token_ids=[1])] * 129)),
        INVALID,
        "resume.choices",
    ),
    "an end for no reason": (
        resumed(finished=pb.Finished()),
        INVALID,
        f"{AT}.finished.reason",
    ),
    "an end of another choice": (
        resumed(finished=pb.Finished(choice=1, reason=pb.FINISH_REASON_STOP)),
        INVALID,
        f"{AT}.finished.choice",
    ),
    "an end after other tokens": (
        resumed(token_ids=[1], finished=pb.Finished(reason=pb.FINISH_REASON_STOP)),
        INVALID,
        f"{AT}.finished.completion_tokens",
    ),
    "an end at no stop string": (
        resumed(finished=pb.Finished(reason=pb.FINISH_REASON_STOP, stop_string="x")),
        INVALID,
        f"{AT}.finished.stop_string",
    ),
    "an end at no stop token": (
        resumed(finished=pb.Finished(reason=pb.FINISH_REASON_STOP, stop_token_id=1)),
        INVALID,
        f"{AT}.finished.stop_token_id",
    ),
}


@pytest.mark.parametrize("case", GENERATE)
async def test_generate_answers_as_the_table_says(case: str, worker: RunningWorker) -> None:
    """One status, its reason, and the field at fault."""
    request, reason, param = GENERATE[case]
    error = await refused(worker.stub.Generate(request))

    assert (error.reason, error.param) == (reason, param)


@pytest.mark.parametrize("text", ["a\0b", "\0", "[" * 2000 + "]" * 2000, "\u202e\ufeff", "\ud7ff\ue000"])
async def test_odd_text_is_text(text: str, worker: RunningWorker) -> None:
    """Null bytes, brackets and marks are answered like anything else."""
    assert (await worker.generate(text_request(text, **limited(len(text.encode()))))).text() == text


LONE_SURROGATE = b"\n\x04echo\x22\x03\xed\xa0\x80"
"""Model ``echo`` and a text that is no UTF-8."""


@pytest.mark.parametrize("data", [LONE_SURROGATE, b"\xff\xff\xff", b"\x0a\xff"])
async def test_bytes_that_are_no_request_are_refused(data: bytes, worker: RunningWorker) -> None:
    """A lone surrogate's bytes, and garbage: INVALID_ARGUMENT, not INTERNAL."""
    generate: Any = worker.channel.unary_stream("/inferloom.v1.InferenceService/Generate")
    call = generate(data)
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        async for _ in call:
            pass

    assert error_of(caught.value).reason is INVALID


async def test_a_message_over_the_limit_is_refused(worker: RunningWorker) -> None:
    """The transport answers before the message is read."""
    async with grpc.aio.insecure_channel(str(worker.address)) as channel:
        generate: Any = channel.unary_stream("/inferloom.v1.InferenceService/Generate")
        call = generate(b"x" * 17 * 2**20)
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            async for _ in call:
                pass

    assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED


async def test_what_a_model_cannot_do_is_said(worker: RunningWorker) -> None:
    """The echo model neither embeds nor ranks; an unknown one does not exist."""
    embed = pb.EmbedRequest(model="echo", inputs=[pb.EmbedInput(text="x")])
    rerank = pb.RerankRequest(model="echo", query="x", documents=["y"])

    assert (await refused(worker.stub.Embed(embed))).reason is Reason.UNSUPPORTED_TASK
    assert (await refused(worker.stub.Rerank(rerank))).reason is Reason.UNSUPPORTED_TASK
    rerank.model = "nope"
    assert (await refused(worker.stub.Rerank(rerank))).reason is Reason.MODEL_NOT_FOUND


@pytest.mark.parametrize(
    ("method", "request_", "param"),
    [
        ("Tokenize", pb.TokenizeRequest(model="echo"), "input"),
        ("Tokenize", pb.TokenizeRequest(model="echo", chat=pb.ChatInput()), "chat.messages"),
        (
            "Tokenize",
            pb.TokenizeRequest(
                model="echo",
                chat=pb.ChatInput(
                    messages=chat_request("x").chat.messages,
                    tools=[pb.Tool(name="f", parameters_json_schema="[" * 100_000)],
                ),
            ),
            "chat.tools[0].parameters_json_schema",
        ),
        ("Detokenize", pb.DetokenizeRequest(model="echo", token_ids=[1, 999]), "token_ids[1]"),
    ],
)
async def test_tokenisation_is_checked_too(
    method: str, request_: Any, param: str, worker: RunningWorker
) -> None:
    """Each at its field."""
    error = await refused(getattr(worker.stub, method)(request_))

    assert (error.reason, error.param) == (INVALID, param)
