"""Cases: conversations and texts, how long they are and how they end."""

from typing import Any

from openai import AsyncOpenAI

from answering.asking import TEXT, TOKENS, chat, complete, streamed, tokens_of, with_
from answering.case import Case, Seen


async def _in_pieces(client: AsyncOpenAI, model: str) -> Seen:
    long = {"max_tokens": 24}  # a server that is late tells several tokens at once
    return {"whole": await chat(client, model, **long), "streamed": await streamed(client, model, **long)}


def _same(seen: Seen) -> bool:
    one, pieces = seen["whole"]["choices"][0], seen["streamed"]
    return (one["text"], one["finish"], seen["whole"]["usage"]) == (
        pieces["text"],
        pieces["finish"],
        pieces["usage"],
    ) and pieces["pieces"] > 1


async def _two_texts(client: AsyncOpenAI, model: str) -> Seen:
    return await complete(client, model, prompt=[TEXT, "One, two, three,"])


async def _ids_as_prompt(client: AsyncOpenAI, model: str) -> Seen:
    told = await complete(client, model)
    ids = await tokens_of(client, model, TEXT)
    return {"by ids": await complete(client, model, prompt=ids), "by text": told}


def _as_by_text(seen: Seen) -> bool:
    return bool(seen["by ids"] == seen["by text"])


async def _stopped(client: AsyncOpenAI, model: str, **more: Any) -> Seen:
    """Stops at something of what would have come."""
    whole = (await chat(client, model, max_tokens=24))["choices"][0]["text"]
    stop = whole[len(whole) // 2 :][:4]
    return {"whole": whole, "stop": stop, **await chat(client, model, max_tokens=24, stop=[stop], **more)}


def _before_stop(seen: Seen) -> bool:
    one = seen["choices"][0]
    return (one["text"], one["finish"]) == (seen["whole"].partition(seen["stop"])[0], "stop")


def _with_stop(seen: Seen) -> bool:
    before, stop, _ = seen["whole"].partition(seen["stop"])
    one = seen["choices"][0]
    return (one["text"], one["finish"]) == (before + stop, "stop")


async def _stopped_by_id(client: AsyncOpenAI, model: str) -> Seen:
    ids = await tokens_of(client, model, (await complete(client, model))["choices"][0]["text"])
    return await complete(client, model, extra_body={"stop_token_ids": ids[len(ids) // 2 :][:1]})


async def _continued(client: AsyncOpenAI, model: str) -> Seen:
    turns = [{"role": "user", "content": "Count to five."}, {"role": "assistant", "content": "1, 2, 3,"}]
    more = {"add_generation_prompt": False, "continue_final_message": True}
    return await chat(client, model, messages=turns, extra_body=more)


async def _left(client: AsyncOpenAI, model: str) -> Seen:
    create: Any = client.chat.completions.create
    turn = [{"role": "user", "content": "Tell me a long story."}]
    stream = await create(model=model, messages=turn, max_tokens=200, temperature=0, stream=True)
    async for _ in stream:
        break
    await stream.close()
    return await chat(client, model)


async def _response(client: AsyncOpenAI, model: str) -> Seen:
    made = await client.responses.create(
        model=model, input="Name three colours.", max_output_tokens=16, temperature=0, store=False
    )
    return {
        "text": made.output_text,
        "status": made.status,
        "tokens": made.usage and made.usage.output_tokens,
    }


def _full(seen: Seen) -> bool:
    """One choice, with all tokens that were asked for."""
    one = seen["choices"][0]
    return bool(one["text"]) and one["finish"] == "length" and seen["usage"][1] == TOKENS


def _begun(seen: Seen) -> bool:
    return bool(seen["choices"][0]["text"])


CASES = (
    Case("conversation", chat, _full, ("chat",)),
    Case("in a stream", _in_pieces, _same, ("chat",)),
    Case("text", complete, _full, ("completion",)),
    Case("several texts", _two_texts, lambda seen: len(seen["choices"]) == 2, ("completion",)),
    Case("text as token ids", _ids_as_prompt, _as_by_text, ("completion",)),
    Case(
        "echo",
        with_(complete, echo=True),
        lambda seen: seen["choices"][0]["text"].startswith(TEXT),
        ("echo",),
    ),
    Case("response", _response, lambda seen: bool(seen["text"]) and seen["tokens"] == 16, ("chat",)),
    Case("stop", _stopped, _before_stop, ("stop",)),
    Case(
        "stop, kept in the text",
        with_(_stopped, extra_body={"include_stop_str_in_output": True}),
        _with_stop,
        ("include_stop_str_in_output",),
    ),
    Case(
        "stop by a token's id",
        _stopped_by_id,
        lambda seen: seen["choices"][0]["finish"] == "stop" and seen["usage"][1] < TOKENS,
        ("stop_token_ids",),
    ),
    Case(
        "least tokens",
        with_(chat, max_tokens=40, extra_body={"min_tokens": 36}),
        lambda seen: seen["usage"][1] >= 36,
        ("min_tokens",),
    ),
    Case(
        "no end of its own",
        with_(
            chat,
            messages=[{"role": "user", "content": "Say yes."}],
            max_tokens=60,
            extra_body={"ignore_eos": True},
        ),
        lambda seen: seen["usage"][1] == 60 and seen["choices"][0]["finish"] == "length",
        ("ignore_eos",),
    ),
    Case(
        "special tokens in the text",
        with_(
            complete,
            prompt="<|im_start|>user\nSay yes.<|im_end|>\n<|im_start|>assistant\n",
            max_tokens=60,
            extra_body={"skip_special_tokens": False},
        ),
        _begun,
        ("skip_special_tokens",),
    ),
    Case("a turn that goes on", _continued, _begun, ("continue_final_message",)),
    Case(
        "template variables",
        with_(chat, extra_body={"chat_template_kwargs": {"enable_thinking": False}}),
        _full,
        ("chat_template_kwargs",),
    ),
    Case(
        "a prompt that is cut",
        with_(complete, prompt="one two three four five six", extra_body={"truncate_prompt_tokens": 4}),
        lambda seen: seen["usage"][0] == 4,
        ("truncate_prompt_tokens",),
    ),
    Case("text between", with_(complete, suffix=" and so on."), _begun, ("suffix",)),
    Case(
        "a hint of the answer",
        with_(chat, prediction={"type": "content", "content": "Red"}),
        _full,
        ("prediction",),
    ),
    Case("priority", with_(chat, extra_body={"priority": -1}), _full, ("priority",)),
    Case("a cache of its own", with_(chat, extra_body={"cache_salt": "a"}), _full, ("cache_salt",)),
    Case("leaving a stream", _left, _full, ("chat",)),
)
