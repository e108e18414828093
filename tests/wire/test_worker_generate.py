"""Generate, Tokenize and the rest on a worker with the echo engine, over real gRPC."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import grpc
import pytest
import pytest_asyncio

from inferloom.v1 import inference_pb2 as pb
from inferloom_mesh.context import CallContext
from inferloom_mesh.errors import Reason
from tests.patience import PATIENCE_S, undisturbed
from tests.wire.running_worker import (
    RunningWorker,
    chat_request,
    limited,
    refused,
    running_worker,
    text_request,
)

pytestmark = pytest.mark.asyncio(loop_scope="module")

ENDLESS = "slow"
"""A model that answers with one token a minute."""


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def worker() -> AsyncIterator[RunningWorker]:
    """A quick echo, and one that takes for ever with room for two and one more."""
    async with running_worker(
        "echo", f"{ENDLESS}=echo:delay_ms=60000", max_running=2, max_waiting=1
    ) as running:
        yield running


async def test_a_stream_follows_the_grammar(worker: RunningWorker) -> None:
    """Started, deltas with rising indices, Finished for each choice after its last, Completed."""
    request = text_request("hey", sampling=pb.SamplingOptions(n=2, seed=7), request_id="mine", **limited(150))
    answer = await worker.generate(request)
    kinds = [event.WhichOneof("event") for event in answer.events]
    (started,), (completed,) = answer.all("started"), answer.all("completed")

    assert (kinds[0], kinds[-1]) == ("started", "completed")
    assert (started.request_id, started.seed, started.prompt_tokens, started.model) == ("mine", 7, 3, "echo")
    assert started.worker_id == (await worker.status()).worker.id
    for choice in range(2):
        deltas = [delta for delta in answer.all("delta") if delta.choice == choice]
        assert [delta.token_index for delta in deltas] == [0, 64, 128]
        assert answer.text(choice) == "hey" * 50
    assert [(f.choice, f.reason, f.completion_tokens) for f in answer.all("finished")] == [
        (0, pb.FINISH_REASON_LENGTH, 150),
        (1, pb.FINISH_REASON_LENGTH, 150),
    ]
    assert completed.usage == pb.Usage(prompt_tokens=3, completion_tokens=300)


async def test_a_chat_is_rendered_and_ends_at_the_models_end_token(worker: RunningWorker) -> None:
    """Special tokens are sent as tokens and have no text."""
    answer = await worker.generate(chat_request("Hi, wörld 🌍"))

    assert answer.text() == "user\nHi, wörld 🌍"
    assert answer.all("finished")[0].reason == pb.FINISH_REASON_STOP
    assert answer.all("finished")[0].WhichOneof("matched") is None
    assert answer.tokens()[-1] == 256


async def test_stop_strings_cut_and_end(worker: RunningWorker) -> None:
    """Matched across tokens, before they leave; the call ends at once although there is room for more."""
    answer = await worker.generate(text_request("one END two ", stopping=pb.StoppingOptions(stop=["END"])))

    assert answer.text() == "one "
    assert answer.all("finished")[0].stop_string == "END"
    assert (await worker.status()).load.running == 0


async def test_the_prompt_is_repeated_if_asked(worker: RunningWorker) -> None:
    """As a first delta without tokens, for every choice; token ids are decoded."""
    options = {"output": pb.OutputOptions(echo=True), "sampling": pb.SamplingOptions(n=2), **limited(1)}
    answer = await worker.generate(text_request("ab", **options))
    first = answer.all("delta")[0]

    assert [answer.text(0), answer.text(1)] == ["aba", "aba"]
    assert (list(first.token_ids), first.text) == ([], "ab")
    ids = pb.TokenIds(ids=list(b"xy"))
    assert (await worker.generate(pb.GenerateRequest(model="echo", token_ids=ids, **options))).text() == "xyx"


async def test_logprobs_come_one_per_token(worker: RunningWorker) -> None:
    """With as many alternatives as asked for."""
    output = pb.OutputOptions(logprobs=True, top_logprobs=1)
    answer = await worker.generate(text_request("ab", output=output, **limited(3)))
    entries = [entry for delta in answer.all("delta") for entry in delta.logprobs]

    assert [(entry.token, len(entry.top)) for entry in entries] == [("a", 1), ("b", 1), ("a", 1)]


async def test_without_a_seed_each_request_gets_its_own(worker: RunningWorker) -> None:
    """And it is told, so that the draw can be repeated."""
    seeds = {(await worker.generate(text_request(**limited(1)))).all("started")[0].seed for _ in range(3)}

    assert len(seeds) == 3


async def test_a_cancelled_call_frees_its_slots(worker: RunningWorker) -> None:
    """Whether it is being read from or not."""
    for read in (True, False):
        call = worker.stub.Generate(text_request(model=ENDLESS, sampling=pb.SamplingOptions(n=2)))
        if read:
            assert (await call.read()).WhichOneof("event") == "started"
        await worker.until(running=2)
        call.cancel()
        await worker.until(running=0)


async def test_a_client_that_does_not_read_frees_its_slot_when_it_goes(worker: RunningWorker) -> None:
    """The handler is stuck sending, and is not resumed; the slot is free all the same."""
    async with grpc.aio.insecure_channel(str(worker.address)) as channel:
        call: Any = channel.unary_stream(
            "/inferloom.v1.InferenceService/Generate",
            request_serializer=pb.GenerateRequest.SerializeToString,
        )(text_request("x" * 4000, output=pb.OutputOptions(logprobs=True, top_logprobs=1)))
        await worker.until(running=1)
        call.cancel()

    await worker.until(running=0)


async def test_a_queue_that_is_full_refuses_and_the_rest_goes_on(worker: RunningWorker) -> None:
    """SERVER_OVERLOADED with a time to come back; a place that is freed is taken."""
    calls = [worker.stub.Generate(text_request(model=ENDLESS)) for _ in range(3)]
    await worker.until(running=2, waiting=1)
    error = await refused(worker.stub.Generate(text_request(model=ENDLESS)))
    assert error.reason is Reason.SERVER_OVERLOADED
    assert error.retry_after is not None
    assert error.retry_after > 0
    assert (await worker.generate(text_request("a", **limited(2)))).text() == "aa"

    calls[0].cancel()
    await worker.until(running=2, waiting=0)
    for call in calls[1:]:
        call.cancel()
    await worker.until(running=0)


async def test_a_deadline_before_the_first_token_is_an_error(worker: RunningWorker) -> None:
    """DEADLINE_EXCEEDED, and no slot is held."""
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await worker.generate(text_request(model=ENDLESS), timeout=0.3)

    assert caught.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
    await worker.until(running=0)


@undisturbed(0.15)
async def test_a_deadline_in_the_middle_keeps_what_there_is() -> None:
    """Finished and Completed still arrive in time, with the tokens so far."""
    async with running_worker("echo=echo:delay_ms=5") as worker:
        answer = await worker.generate(text_request(), timeout=1.0)

    assert answer.all("finished")[0].reason == pb.FINISH_REASON_DEADLINE
    assert len(answer.tokens()) == answer.all("completed")[0].usage.completion_tokens > 0


@undisturbed(0.15)
async def test_the_time_that_a_gateway_says_is_left_is_the_deadline() -> None:
    """A call without a deadline of its own ends in time by the context that came along."""
    metadata = CallContext("r", deadline=1.0).metadata(0.0)
    async with running_worker("echo=echo:delay_ms=5") as worker, asyncio.timeout(PATIENCE_S):
        events = [event async for event in worker.stub.Generate(text_request(), metadata=metadata)]

    (finished,) = (event.finished for event in events if event.HasField("finished"))
    assert finished.reason == pb.FINISH_REASON_DEADLINE


async def test_tokens_and_texts_are_exchanged(worker: RunningWorker) -> None:
    """Tokenize and Detokenize are each other's inverse; a chat is tokenised with its template."""
    tokenized = await worker.stub.Tokenize(pb.TokenizeRequest(model="echo", text="aé"))
    assert list(tokenized.token_ids) == [97, 0xC3, 0xA9]
    assert list(tokenized.tokens) == ["a", "\ufffd", "\ufffd"]
    assert tokenized.context_length == 8192

    chat = await worker.stub.Tokenize(pb.TokenizeRequest(model="echo", chat=chat_request("x").chat))
    request = pb.DetokenizeRequest(model="echo", token_ids=chat.token_ids)
    assert (await worker.stub.Detokenize(request)).text == "<|turn|>user\nx<|end|>\n<|turn|>assistant\n"
    request.skip_special_tokens = True
    assert (await worker.stub.Detokenize(request)).text == "user\nx\nassistant\n"


async def test_a_tokenizer_is_described(worker: RunningWorker) -> None:
    """With the hash, the sizes and the template that the model's card tells of."""
    (card, _) = (await worker.stub.ListModels(pb.ListModelsRequest())).models
    told = await worker.stub.GetTokenizer(pb.GetTokenizerRequest(model="echo"))

    assert (told.model, told.hash, told.vocabulary_size) == (
        "echo",
        card.tokenizer_hash,
        card.vocabulary_size,
    )
    assert told.context_length == card.context_length
    assert "<|turn|>" in told.chat_template
    special = {token.content: token.id for token in told.added_tokens if token.special}
    assert list(told.end_token_ids) == [special["<|end|>"]]
    assert told.special_tokens["eos_token"] == "<|end|>"
    error = await refused(worker.stub.GetTokenizer(pb.GetTokenizerRequest(model="none")))
    assert error.reason is Reason.MODEL_NOT_FOUND


async def test_models_are_listed_with_what_they_can_do(worker: RunningWorker) -> None:
    """In order of id, with hashes that differ where the models do."""
    models = (await worker.stub.ListModels(pb.ListModelsRequest())).models

    assert [model.id for model in models] == ["echo", ENDLESS]
    assert list(models[0].tasks) == [pb.TASK_COMPLETION, pb.TASK_CHAT]
    assert "top_k" in models[0].supported_parameters
    assert models[0].tokenizer_hash == models[1].tokenizer_hash
    assert models[0].weights_hash != models[1].weights_hash
    assert models[0].created.ToSeconds() > 0


async def test_many_streams_at_once_are_each_complete() -> None:
    """Thirty-two streams, each with its own text."""
    async with running_worker("echo") as worker:
        texts = [f"stream number {i} " for i in range(32)]
        async with asyncio.timeout(PATIENCE_S):
            answers = await asyncio.gather(
                *(worker.generate(text_request(text, **limited(len(text) * 3))) for text in texts)
            )

    assert [answer.text() for answer in answers] == [text * 3 for text in texts]
