"""The two ways in which most cases ask, and what is kept of the answers."""

from collections.abc import Sequence
from typing import Any

from openai import AsyncOpenAI

from answering.case import Ask, Seen

TURN: list[Any] = [{"role": "user", "content": "Name three colours."}]
TEXT = "The capital of France is"
TOKENS = 8


async def chat(client: AsyncOpenAI, model: str, **more: Any) -> Seen:
    """A conversation's answer, greedy and short unless ``more`` says otherwise."""
    create: Any = client.chat.completions.create
    given = {"messages": TURN, "max_tokens": TOKENS, "temperature": 0, **more}
    made = await create(model=model, **given)
    return {
        "choices": [
            {
                "text": choice.message.content or "",
                "calls": [
                    [call.function.name, call.function.arguments]
                    for call in choice.message.tool_calls or ()
                    if call.type == "function"
                ],
                "finish": choice.finish_reason,
                "logprobs": _entries(choice.logprobs.content if choice.logprobs else None),
                "ids": _ids(choice),
            }
            for choice in made.choices
        ],
        **_usage(made.usage),
    }


async def streamed(client: AsyncOpenAI, model: str, **more: Any) -> Seen:
    """The same in pieces, put together."""
    create: Any = client.chat.completions.create
    given = {"messages": TURN, "max_tokens": TOKENS, "temperature": 0, **more}
    stream = await create(model=model, stream=True, stream_options={"include_usage": True}, **given)
    text, finish, usage, pieces = "", None, None, 0
    calls: dict[int, list[str]] = {}
    async for chunk in stream:
        for choice in chunk.choices:
            text += choice.delta.content or ""
            finish = choice.finish_reason or finish
            pieces += bool(choice.delta.content)
            for call in choice.delta.tool_calls or ():
                parts = calls.setdefault(call.index, ["", ""])
                parts[0] += call.function.name or ""
                parts[1] += call.function.arguments or ""
        usage = chunk.usage or usage
    told = {"text": text, "calls": [*calls.values()], "finish": finish, "pieces": pieces}
    return told | _usage(usage)


async def complete(client: AsyncOpenAI, model: str, **more: Any) -> Seen:
    """A text that goes on, greedily and shortly likewise."""
    create: Any = client.completions.create
    given = {"prompt": TEXT, "max_tokens": TOKENS, "temperature": 0, **more}
    made = await create(model=model, **given)
    return {
        "choices": [
            {
                "text": choice.text,
                "finish": choice.finish_reason,
                "logprobs": choice.logprobs
                and [choice.logprobs.tokens, _rounded(choice.logprobs.token_logprobs)],
                "tops": [
                    len(each or ()) for each in (choice.logprobs and choice.logprobs.top_logprobs) or ()
                ],
                "ids": _ids(choice),
            }
            for choice in made.choices
        ],
        **_usage(made.usage),
    }


def beside(client: AsyncOpenAI, path: str) -> str:
    """An endpoint that is not below ``/v1``."""
    return f"{str(client.base_url).rstrip('/').removesuffix('/v1')}/{path}"


async def tokens_of(client: AsyncOpenAI, model: str, text: str) -> list[int]:
    """The ids of a text's tokens, by the endpoint that vLLM has, too."""
    body = {"model": model, "prompt": text, "add_special_tokens": False}
    answer: Any = await client.post(beside(client, "tokenize"), body=body, cast_to=object)
    return [*answer["tokens"]]


def with_(ask: Any, **more: Any) -> Ask:
    """Ask so with further parameters."""
    return lambda client, model: ask(client, model, **more)


def format_of(kind: str, **of: Any) -> dict[str, Any]:
    """A response format with room for it."""
    return {"response_format": {"type": kind, **of}, "max_tokens": 80}


def _entries(content: Any) -> Any:
    return content and [
        [
            entry.token,
            round(entry.logprob, 2),
            [[top.token, round(top.logprob, 2)] for top in entry.top_logprobs],
        ]
        for entry in content
    ]


def _ids(choice: Any) -> Any:
    return (choice.model_extra or {}).get("token_ids")


def _rounded(values: Sequence[float | None]) -> list[float | None]:
    return [None if value is None else round(value, 2) for value in values]


def _usage(usage: Any) -> dict[str, Any]:
    return {"usage": usage and [usage.prompt_tokens, usage.completion_tokens]}
