"""The OpenAI SDK, and LangChain on top of it, against the gateway."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import openai
import pytest
from langchain_openai import ChatOpenAI, OpenAIEmbeddings
from pydantic import BaseModel

from inferloom.v1 import inference_pb2 as pb
from inferloom_mesh.errors import InferloomError, Reason, invalid, overloaded
from tests.wire.fake_worker import WORDS, FakeWorker, completed, delta, finished, refuse, started
from tests.wire.gateway_mesh import GatewayMesh, gateway_mesh

pytestmark = pytest.mark.asyncio(loop_scope="module")

HELLO: list[Any] = [{"role": "user", "content": "Hello! What is your name?"}]
SAID = "".join(WORDS)


@pytest.fixture
def mesh(shared_mesh: GatewayMesh) -> GatewayMesh:
    """One gateway for all tests here: they leave nothing behind in it."""
    return shared_mesh


async def test_models_are_listed_in_order_with_owner_permission_and_context(mesh: GatewayMesh) -> None:
    """models.list gives every model once, sorted, with the fields that clients read."""
    async with mesh.openai() as client:
        models: list[Any] = (await client.models.list()).data
    assert [model.id for model in models] == ["chat-model", "org/embedder"]
    assert (models[0].object, models[0].created, models[0].owned_by) == ("model", 1_700_000_000, "tests")
    assert models[0].context_length == models[0].max_model_len == 512
    assert models[0].permission[0]["object"] == "model_permission"


async def test_a_model_id_may_contain_slashes(mesh: GatewayMesh) -> None:
    """models.retrieve finds a model whose id has a slash, and says 404 for one that does not exist."""
    async with mesh.openai() as client:
        assert (await client.models.retrieve("org/embedder")).id == "org/embedder"
        with pytest.raises(openai.NotFoundError) as caught:
            await client.models.retrieve("org/other")
    assert caught.value.code == "model_not_found"


class Fish(BaseModel):
    """What is asked for."""

    name: str


async def fishing(worker: FakeWorker, request: pb.GenerateRequest) -> AsyncIterator[pb.GenerateResponse]:
    """Say a fish, and look for another."""
    yield started(request, worker.id)
    yield delta('{"name": "cod"}')
    call = pb.ToolCallDelta(index=0, id="c", name="find", arguments='{"name": "eel"}')
    yield pb.GenerateResponse(delta=pb.Delta(token_index=1, token_ids=[1], tool_calls=[call]))
    yield finished(reason=pb.FINISH_REASON_TOOL_CALLS)
    yield completed()


@pytest.mark.filterwarnings("ignore:Pydantic serializer warnings")  # the SDK's own, of what it has parsed
async def test_an_answer_that_the_sdk_parsed_can_be_sent_back_to_a_strict_gateway() -> None:
    """With all that it has made of it."""
    tool = openai.pydantic_function_tool(Fish, name="find")
    worker = FakeWorker()
    worker.script = fishing
    async with gateway_mesh(worker, strict=True) as mesh, mesh.openai() as client:
        parse = client.chat.completions.parse
        answer = await parse(model="chat-model", messages=HELLO, response_format=Fish, tools=[tool])
        (choice,) = answer.choices
        assert choice.message.parsed == Fish(name="cod")
        again: list[Any] = [*HELLO, choice.message, {"role": "tool", "tool_call_id": "c", "content": "none"}]
        await parse(model="chat-model", messages=again, response_format=Fish, tools=[tool])
    assert [part.WhichOneof("part") for part in worker.requests[-1].chat.messages[1].parts] == [
        "text",
        "tool_call",
    ]


async def test_chat_answers_in_one_body(mesh: GatewayMesh) -> None:
    """chat.completions.create returns text, finish reason and usage."""
    async with mesh.openai() as client:
        answer = await client.chat.completions.create(model="chat-model", messages=HELLO)
    assert answer.object == "chat.completion"
    assert answer.id.startswith("chatcmpl-")
    assert answer.choices[0].message.role == "assistant"
    assert answer.choices[0].message.content == SAID
    assert answer.choices[0].finish_reason == "stop"
    assert answer.usage is not None
    assert (answer.usage.prompt_tokens, answer.usage.completion_tokens) == (7, 3)
    assert answer.usage.total_tokens == 10
    assert answer.usage.prompt_tokens_details is not None
    assert answer.usage.prompt_tokens_details.cached_tokens == 2


async def test_chat_parameters_reach_the_worker(mesh: GatewayMesh) -> None:
    """Every parameter that the contract has arrives in its field, null ones as absent."""
    async with mesh.openai() as client:
        await client.chat.completions.create(
            model="chat-model",
            messages=[
                {"role": "system", "content": "Be brief."},
                {"role": "user", "content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]},
            ],
            temperature=0.5,
            top_p=0.9,
            n=2,
            seed=-1,
            max_completion_tokens=9,
            stop="END",
            presence_penalty=None,
            frequency_penalty=0.25,
            logit_bias={"17": -100},
            logprobs=True,
            top_logprobs=2,
            user="someone",
            extra_body={
                "top_k": -1,
                "min_p": 0.125,
                "repetition_penalty": 1.5,
                "min_tokens": 2,
                "ignore_eos": True,
                "stop_token_ids": [3],
                "include_stop_str_in_output": True,
                "chat_template_kwargs": {"enable_thinking": False},
                "continue_final_message": True,
            },
        )
    asked = mesh.worker.requests[0]
    assert [message.role for message in asked.chat.messages] == [pb.ROLE_SYSTEM, pb.ROLE_USER]
    assert [part.text for part in asked.chat.messages[1].parts] == ["a", "b"]
    assert asked.sampling == pb.SamplingOptions(
        temperature=0.5,
        top_p=0.9,
        n=2,
        seed=2**64 - 1,
        frequency_penalty=0.25,
        logit_bias={17: -100},
        top_k=0,
        min_p=0.125,
        repetition_penalty=1.5,
    )
    assert asked.stopping == pb.StoppingOptions(
        max_tokens=9, min_tokens=2, stop=["END"], stop_token_ids=[3], ignore_eos=True, include_stop=True
    )
    assert asked.output == pb.OutputOptions(logprobs=True, top_logprobs=2)
    assert asked.chat.template.variables["enable_thinking"] is False
    assert asked.chat.template.continue_final_message is True


async def test_chat_streams_in_openai_chunks(mesh: GatewayMesh) -> None:
    """A stream is the role, the text, the finish reason and, where asked for, the usage."""
    async with mesh.openai() as client:
        stream = await client.chat.completions.create(
            model="chat-model", messages=HELLO, stream=True, stream_options={"include_usage": True}
        )
        chunks = [chunk async for chunk in stream]
    assert len({chunk.id for chunk in chunks}) == 1
    assert {chunk.object for chunk in chunks} == {"chat.completion.chunk"}
    assert chunks[0].choices[0].delta.role == "assistant"
    assert [chunk.choices[0].delta.content for chunk in chunks[1:4]] == list(WORDS)
    assert [chunk.choices[0].finish_reason for chunk in chunks[:5]] == [None, None, None, None, "stop"]
    assert chunks[5].choices == []
    assert chunks[5].usage is not None
    assert chunks[5].usage.total_tokens == 10
    assert len(chunks) == 6


async def test_a_stream_without_include_usage_has_no_usage(mesh: GatewayMesh) -> None:
    """No chunk has usage, and every chunk has a choice, unless usage was asked for."""
    async with mesh.openai() as client:
        stream = await client.chat.completions.create(model="chat-model", messages=HELLO, stream=True)
        chunks = [chunk async for chunk in stream]
    assert all(chunk.choices and chunk.usage is None for chunk in chunks)


async def test_several_choices_stream_side_by_side(mesh: GatewayMesh) -> None:
    """With n=2 the chunks of both choices come interleaved, told apart by their index."""
    async with mesh.openai() as client:
        stream = await client.chat.completions.create(model="chat-model", messages=HELLO, n=2, stream=True)
        texts = ["", ""]
        order = []
        async for chunk in stream:
            choice = chunk.choices[0]
            order.append(choice.index)
            texts[choice.index] += choice.delta.content or ""
    assert texts == [SAID, SAID]
    assert order == [0, 1] * 5


async def test_chat_logprobs_come_in_both_forms(mesh: GatewayMesh) -> None:
    """Log-probabilities arrive with their bytes and alternatives, streamed and in one body."""
    top = [pb.TopLogprob(token_id=1, logprob=float("-inf"), token="x", token_bytes=b"x")]
    entry = pb.TokenLogprob(token_id=1, logprob=-0.5, token="é", token_bytes="é".encode(), top=top)

    async def script(worker: object, request: pb.GenerateRequest) -> AsyncIterator[pb.GenerateResponse]:
        yield started(request)
        yield delta("é", logprobs=[entry])
        yield finished()
        yield completed(1)

    mesh.worker.script = script
    asked: dict[str, Any] = {"model": "chat-model", "messages": HELLO, "logprobs": True, "top_logprobs": 1}
    async with mesh.openai() as client:
        whole = await client.chat.completions.create(**asked)
        stream = await client.chat.completions.create(**asked, stream=True)
        streamed = [c.choices[0].logprobs async for c in stream if c.choices[0].logprobs]
    assert whole.choices[0].logprobs.model_dump() == streamed[0].model_dump()
    assert streamed[0].content[0].bytes == [0xC3, 0xA9]
    assert (streamed[0].content[0].token, streamed[0].content[0].logprob) == ("é", -0.5)
    assert streamed[0].content[0].top_logprobs[0].logprob == -9999.0


async def test_tool_calls_come_in_both_forms(mesh: GatewayMesh) -> None:
    """Parts of a tool call add up to the same call, streamed and in one body."""
    parts = [
        pb.ToolCallDelta(index=0, id="call-1", name="look", arguments='{"at"'),
        pb.ToolCallDelta(index=0, arguments=': "sea"}'),
    ]

    async def script(worker: object, request: pb.GenerateRequest) -> AsyncIterator[pb.GenerateResponse]:
        yield started(request)
        for part in parts:
            yield delta("", tool_calls=[part])
        yield finished(reason=pb.FINISH_REASON_TOOL_CALLS)
        yield completed(1)

    mesh.worker.script = script
    tool = {"type": "function", "function": {"name": "look", "parameters": {"type": "object"}}}
    asked: dict[str, Any] = {
        "model": "chat-model",
        "messages": HELLO,
        "tools": [tool],
        "tool_choice": "required",
    }
    async with mesh.openai() as client:
        whole = await client.chat.completions.create(**asked)
        stream = await client.chat.completions.create(**asked, stream=True)
        streamed = [call async for c in stream for call in c.choices[0].delta.tool_calls or ()]
    message = whole.choices[0].message
    assert message.content is None
    assert message.tool_calls[0].function.arguments == '{"at": "sea"}'
    assert whole.choices[0].finish_reason == "tool_calls"
    assert (streamed[0].id, streamed[0].type, streamed[0].function.name) == ("call-1", "function", "look")
    assert "".join(part.function.arguments for part in streamed) == '{"at": "sea"}'
    assert mesh.worker.requests[0].chat.tool_choice.mode == pb.TOOL_CHOICE_MODE_REQUIRED
    assert mesh.worker.requests[0].chat.tools[0].parameters_json_schema == '{"type":"object"}'


async def test_reasoning_is_kept_apart_from_the_answer(mesh: GatewayMesh) -> None:
    """Reasoning text arrives as reasoning_content and never in content."""

    async def script(worker: object, request: pb.GenerateRequest) -> AsyncIterator[pb.GenerateResponse]:
        yield started(request)
        yield delta("", reasoning="hmm")
        yield delta("yes")
        yield finished(reason=pb.FINISH_REASON_DEADLINE)
        yield completed(2)

    mesh.worker.script = script
    async with mesh.openai() as client:
        answer = await client.chat.completions.create(model="chat-model", messages=HELLO)
    message: Any = answer.choices[0].message
    assert message.reasoning_content == "hmm"
    assert message.content == "yes"
    assert answer.choices[0].finish_reason == "length"


async def test_a_completion_answers_in_one_body(mesh: GatewayMesh) -> None:
    """completions.create returns text; without max_tokens it asks for OpenAI's 16."""
    async with mesh.openai() as client:
        answer = await client.completions.create(model="chat-model", prompt="Once upon a time")
    assert (answer.object, answer.choices[0].text) == ("text_completion", SAID)
    assert mesh.worker.requests[0].text == "Once upon a time"
    assert mesh.worker.requests[0].stopping.max_tokens == 16


async def test_a_completion_streams(mesh: GatewayMesh) -> None:
    """A completion stream carries text and a finish reason."""
    async with mesh.openai() as client:
        stream = await client.completions.create(
            model="chat-model", prompt="Once", stream=True, stream_options={"include_usage": True}
        )
        chunks = [chunk async for chunk in stream]
    assert [chunk.choices[0].text for chunk in chunks[:-1]] == [*WORDS, ""]
    assert chunks[-2].choices[0].finish_reason == "stop"
    assert chunks[-1].usage is not None
    assert chunks[-1].usage.completion_tokens == 3


@pytest.mark.parametrize("stream", [False, True])
async def test_an_array_of_prompts_numbers_its_choices_through(mesh: GatewayMesh, stream: bool) -> None:
    """Two prompts with n=2 give choices 0 to 3 in the order of the prompts, and usage of both."""

    async def echo(worker: object, request: pb.GenerateRequest) -> AsyncIterator[pb.GenerateResponse]:
        yield started(request)
        for choice in range(2):
            yield delta(f"{request.text or list(request.token_ids.ids)}/{choice}", choice)
            yield finished(choice)
        yield completed(2)

    mesh.worker.script = echo
    async with mesh.openai() as client:
        for prompt, shown in ((["a", "b"], ["a", "b"]), ([[1, 2], [3]], ["[1, 2]", "[3]"])):
            asked: dict[str, Any] = {"model": "chat-model", "prompt": prompt, "n": 2}
            texts = [""] * 4
            if stream:
                asked |= {"stream": True, "stream_options": {"include_usage": True}}
                async for chunk in await client.completions.create(**asked):
                    for choice in chunk.choices:
                        texts[choice.index] += choice.text
                    usage = chunk.usage
            else:
                answer = await client.completions.create(**asked)
                usage = answer.usage
                for choice in answer.choices:
                    texts[choice.index] = choice.text
            assert texts == [f"{shown[0]}/0", f"{shown[0]}/1", f"{shown[1]}/0", f"{shown[1]}/1"]
            assert (usage.prompt_tokens, usage.completion_tokens) == (14, 4)


@pytest.mark.parametrize("stream", [False, True])
async def test_usage_tells_what_drafts_were_worth(mesh: GatewayMesh, stream: bool) -> None:
    """Chat and text completions have OpenAI's counts of accepted and rejected prediction tokens."""

    async def drafted(worker: object, request: pb.GenerateRequest) -> AsyncIterator[pb.GenerateResponse]:
        yield started(request)
        yield finished()
        usage = pb.Usage(
            prompt_tokens=7, completion_tokens=9, accepted_draft_tokens=5, rejected_draft_tokens=2
        )
        yield pb.GenerateResponse(completed=pb.Completed(usage=usage))

    mesh.worker.script = drafted
    options: dict[str, Any] = {"stream": True, "stream_options": {"include_usage": True}} if stream else {}
    async with mesh.openai() as client:
        for answer in (
            await client.chat.completions.create(model="chat-model", messages=HELLO, **options),
            await client.completions.create(model="chat-model", prompt="Once", **options),
        ):
            usage = [chunk async for chunk in answer][-1].usage if stream else answer.usage
            details = usage.completion_tokens_details
            assert (details.accepted_prediction_tokens, details.rejected_prediction_tokens) == (5, 2)


async def test_a_prompt_may_be_token_ids(mesh: GatewayMesh) -> None:
    """A flat array of numbers is one prompt of tokens."""
    async with mesh.openai() as client:
        await client.completions.create(model="chat-model", prompt=[5, 6, 7], echo=True)
    assert list(mesh.worker.requests[0].token_ids.ids) == [5, 6, 7]
    assert mesh.worker.requests[0].output.echo is True


@pytest.mark.parametrize("stream", [False, True])
async def test_completion_logprobs_have_offsets(mesh: GatewayMesh, stream: bool) -> None:
    """Each token has its log-probability, alternatives and the offset of its text from the prompt's
    beginning."""

    async def script(worker: object, request: pb.GenerateRequest) -> AsyncIterator[pb.GenerateResponse]:
        yield started(request)
        for number, word in enumerate(("ab", "c")):
            spelled: dict[str, Any] = {"token": word, "token_bytes": word.encode(), "token_id": number}
            top = [pb.TopLogprob(token="z", token_bytes=b"z", token_id=9, logprob=-2)]
            yield delta(word, logprobs=[pb.TokenLogprob(**spelled, logprob=-1, top=top)])
        yield finished()
        yield completed(2)

    mesh.worker.script = script
    asked: dict[str, Any] = {"model": "chat-model", "prompt": "x" * 5, "logprobs": 1}
    async with mesh.openai() as client:
        if stream:
            found = [
                c.choices[0].logprobs async for c in await client.completions.create(**asked, stream=True)
            ]
            offsets = [offset for logprobs in found if logprobs for offset in logprobs.text_offset]
            top = found[0].top_logprobs
        else:
            logprobs = (await client.completions.create(**asked)).choices[0].logprobs
            assert (logprobs.tokens, logprobs.token_logprobs) == (["ab", "c"], [-1, -1])
            offsets, top = logprobs.text_offset, logprobs.top_logprobs
    assert offsets == [5, 7]
    assert top[0] == {"z": -2, "ab": -1}


async def test_embeddings_come_as_floats_and_base64_alike(mesh: GatewayMesh) -> None:
    """The SDK's default (base64) and encoding_format=float give the same numbers, in input order."""
    async with mesh.openai() as client:
        coded = await client.embeddings.create(model="org/embedder", input=["a", "bcd"])
        plain = await client.embeddings.create(
            model="org/embedder", input=["a", "bcd"], encoding_format="float"
        )
        single = await client.embeddings.create(model="org/embedder", input="Hello world!", dimensions=2)
        tokens = await client.embeddings.create(model="org/embedder", input=[[1, 2], [3]])
    assert [item.embedding for item in coded.data] == [[1, 0, 0, 0.5], [3, 0, 0, 0.5]]
    assert [item.embedding for item in plain.data] == [item.embedding for item in coded.data]
    assert single.data[0].embedding[0] == len("Hello world!")
    assert [item.embedding[0] for item in tokens.data] == [2, 1]
    assert plain.usage.prompt_tokens == plain.usage.total_tokens == 4
    assert mesh.worker.requests[2].dimensions == 2


async def test_the_synchronous_sdk_works_too(mesh: GatewayMesh) -> None:
    """Every example of FastChat's guide runs on the synchronous client."""
    models = await mesh.in_thread(lambda client: [model.id for model in client.models.list()])
    assert models == ["chat-model", "org/embedder"]
    text = await mesh.in_thread(
        lambda client: (
            client.completions.create(
                model="chat-model", prompt="Once upon a time", logprobs=1, max_tokens=64, temperature=0
            )
            .choices[0]
            .text
        )
    )
    assert text == SAID
    streamed = await mesh.in_thread(
        lambda client: "".join(
            chunk.choices[0].delta.content or ""
            for chunk in client.chat.completions.create(
                model="chat-model", messages=HELLO, stream=True, temperature=0
            )
        )
    )
    assert streamed == SAID
    vector = await mesh.in_thread(
        lambda client: client.embeddings.create(model="org/embedder", input="Hello world!").data[0].embedding
    )
    assert len(vector) == 4


async def test_langchain_chats_and_embeds(mesh: GatewayMesh) -> None:
    """ChatOpenAI answers and streams; OpenAIEmbeddings embeds."""
    async with openai.DefaultAsyncHttpxClient() as http:
        reach: dict[str, Any] = {
            "base_url": mesh.base_url,
            "api_key": "EMPTY",
            "max_retries": 0,
            "http_async_client": http,
        }
        chat = ChatOpenAI(model="chat-model", **reach)
        assert (await chat.ainvoke("Hi")).content == SAID
        assert "".join([str(part.content) async for part in chat.astream("Hi")]) == SAID
        embedder = OpenAIEmbeddings(model="org/embedder", check_embedding_ctx_length=False, **reach)
        assert await embedder.aembed_documents(["a", "bcd"]) == [[1, 0, 0, 0.5], [3, 0, 0, 0.5]]


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    ("error", "kind", "param", "code"),
    [
        (invalid("sampling.top_p", "sampling.top_p is odd."), openai.BadRequestError, "top_p", None),
        (
            InferloomError(Reason.CONTEXT_LENGTH_EXCEEDED, "Too long.", param="chat.messages"),
            openai.BadRequestError,
            "messages",
            "context_length_exceeded",
        ),
        (overloaded("Full."), openai.InternalServerError, None, "server_overloaded"),
        (
            InferloomError(Reason.TIMEOUT, "Late."),
            openai.InternalServerError,
            None,
            "timeout",
        ),
    ],
)
async def test_a_refusal_is_a_real_status_streamed_or_not(
    mesh: GatewayMesh,
    error: InferloomError,
    kind: type[openai.APIStatusError],
    param: str,
    code: str,
    stream: bool,
) -> None:
    """What a worker refuses has its own status and names the REST parameter, also for a stream."""
    mesh.worker.script = refuse(error)
    async with mesh.openai() as client:
        with pytest.raises(kind) as caught:
            await client.chat.completions.create(model="chat-model", messages=HELLO, stream=stream)
    assert caught.value.status_code == error.row.http
    assert (caught.value.param, caught.value.code) == (param, code)
    if error.param:
        assert error.param not in caught.value.message or error.param == param


async def test_32_streams_at_once_are_all_complete() -> None:
    """Concurrent streams do not mix or lose text."""

    async def tell(worker: object, request: pb.GenerateRequest) -> AsyncIterator[pb.GenerateResponse]:
        yield started(request)
        for index in range(50):
            yield delta(f"{request.chat.messages[0].parts[0].text}.{index} ", 0, index)
        yield finished()
        yield completed(50)

    async with gateway_mesh(FakeWorker(script=tell)) as mesh, mesh.openai() as client:

        async def one(number: int) -> str:
            stream = await client.chat.completions.create(
                model="chat-model", messages=[{"role": "user", "content": str(number)}], stream=True
            )
            return "".join([chunk.choices[0].delta.content or "" async for chunk in stream])

        texts = await asyncio.gather(*(one(number) for number in range(32)))
    assert texts == ["".join(f"{n}.{i} " for i in range(50)) for n in range(32)]
