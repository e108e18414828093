"""What differs when a running server is asked through the mesh and not directly? By capability.

Usage: python tools/dev/check_sidecar.py URL [--model NAME] [--options QUERY] [--only NAME ...] [--json FILE]

URL is that of OpenAI's endpoints, such as http://127.0.0.1:8080/v1, and QUERY what else the address of a
sidecar may say. A mesh with a worker beside the server is started, and each capability is asked for with
OpenAI's client at both doors, greedily and shortly. ``same`` is the same answer; ``by name`` a refusal of the
mesh that names the parameter, which the card does not list; anything else is a difference to look at. Ends
with status 1 if the mesh fails where the server does not, and does not say why.
"""

import argparse
import asyncio
import json
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from openai import APIStatusError, AsyncOpenAI
from peers.own import mesh
from rich.console import Console
from rich.table import Table

LIMIT_S = 300.0
_TURN: list[Any] = [{"role": "user", "content": "Name one colour."}]
_TEXT = "The capital of France is"
_TOKENS = 8
_SCHEMA = {
    "type": "object",
    "properties": {"a": {"type": "boolean"}},
    "required": ["a"],
    "additionalProperties": False,
}
_TOOLS: list[Any] = [
    {
        "type": "function",
        "function": {
            "name": "look",
            "description": "Looks something up.",
            "parameters": {
                "type": "object",
                "properties": {"deep": {"type": "boolean"}},
                "required": ["deep"],
                "additionalProperties": False,
            },
        },
    }
]

Case = Callable[[AsyncOpenAI, str], Awaitable[Any]]


async def _chat(client: AsyncOpenAI, model: str, **more: Any) -> Any:
    extra = more.pop("extra_body", {})
    given = {"max_tokens": _TOKENS, "temperature": 0, **more}
    made = await client.chat.completions.create(model=model, messages=_TURN, extra_body=extra, **given)
    usage = made.usage
    return {
        "choices": [
            {
                "text": choice.message.content,
                "calls": [
                    [call.function.name, call.function.arguments]
                    for call in choice.message.tool_calls or ()
                    if call.type == "function"
                ],
                "finish": choice.finish_reason,
                "logprobs": _entries(choice.logprobs.content if choice.logprobs else None),
            }
            for choice in made.choices
        ],
        "usage": usage and [usage.prompt_tokens, usage.completion_tokens],
    }


def _entries(content: Any) -> Any:
    return content and [
        [entry.token, round(entry.logprob, 2), [top.token for top in entry.top_logprobs]] for entry in content
    ]


async def _streamed(client: AsyncOpenAI, model: str) -> Any:
    options: Any = {"include_usage": True}
    stream = await client.chat.completions.create(
        model=model, messages=_TURN, max_tokens=_TOKENS, temperature=0, stream=True, stream_options=options
    )
    text, finish, usage = "", None, None
    async for chunk in stream:
        for choice in chunk.choices:
            text += choice.delta.content or ""
            finish = choice.finish_reason or finish
        if chunk.usage:
            usage = [chunk.usage.prompt_tokens, chunk.usage.completion_tokens]
    return {"text": text, "finish": finish, "usage": usage}


async def _complete(client: AsyncOpenAI, model: str, prompt: Any = _TEXT, **more: Any) -> Any:
    extra = more.pop("extra_body", {})
    given = {"max_tokens": _TOKENS, "temperature": 0, **more}
    made = await client.completions.create(model=model, prompt=prompt, extra_body=extra, **given)
    usage = made.usage
    return {
        "choices": [
            [choice.text, choice.finish_reason, choice.logprobs and choice.logprobs.tokens]
            for choice in made.choices
        ],
        "ids": [getattr(choice, "token_ids", None) for choice in made.choices],
        "usage": usage and [usage.prompt_tokens, usage.completion_tokens],
    }


async def _left(client: AsyncOpenAI, model: str) -> Any:
    stream = await client.chat.completions.create(
        model=model, messages=_TURN, max_tokens=200, temperature=0, stream=True
    )
    async for _ in stream:
        break
    await stream.close()
    return (await _chat(client, model))["choices"][0]["finish"]


async def _vectors(client: AsyncOpenAI, model: str) -> Any:
    made = await client.embeddings.create(model=model, input=["one", "two words"])
    return {
        "vectors": [[round(x, 3) for x in each.embedding[:4]] for each in made.data],
        "dimensions": len(made.data[0].embedding),
        "tokens": made.usage.prompt_tokens,
    }


async def _scores(client: AsyncOpenAI, model: str) -> Any:
    body = {"model": model, "query": "colour", "documents": ["red", "seven"]}
    answer: Any = await client.post("/rerank", body=body, cast_to=object)
    return [[each["index"], round(each["relevance_score"], 2)] for each in answer["results"]]


def _with(case: Callable[..., Awaitable[Any]], **more: Any) -> Case:
    return lambda client, model: case(client, model, **more)


def _format(**of: Any) -> dict[str, Any]:
    return {"response_format": of, "max_tokens": 60}


CASES: dict[str, Case] = {
    "chat": _chat,
    "streaming": _streamed,
    "completion": _complete,
    "prompt as token ids": _with(_complete, prompt=[1, 2, 3]),
    "n": _with(_chat, n=2),
    "stop": _with(_complete, stop=["a"]),
    "seed": _with(_chat, seed=7, temperature=1),
    "top_p, top_k, min_p": _with(_chat, top_p=0.9, extra_body={"top_k": 5, "min_p": 0.1}),
    "penalties": _with(_chat, presence_penalty=0.5, frequency_penalty=0.5),
    "logit_bias": _with(_complete, logit_bias={"5": -50}),
    "min_tokens": _with(_complete, extra_body={"min_tokens": 4}),
    "ignore_eos": _with(_complete, extra_body={"ignore_eos": True}),
    "stop_token_ids": _with(_complete, extra_body={"stop_token_ids": [30]}),
    "log-probabilities of chats": _with(_chat, logprobs=True, top_logprobs=2),
    "log-probabilities of texts": _with(_complete, logprobs=2),
    "token ids": _with(_complete, extra_body={"return_token_ids": True}),
    "any JSON object": _with(_chat, **_format(type="json_object")),
    "JSON Schema": _with(
        _chat, **_format(type="json_schema", json_schema={"name": "a", "schema": _SCHEMA, "strict": True})
    ),
    "regular expression": _with(_chat, extra_body={"structured_outputs": {"regex": "(red|blue)"}}),
    "choice": _with(_chat, extra_body={"structured_outputs": {"choice": ["red", "blue"]}}),
    "tools": _with(_chat, tools=_TOOLS, max_tokens=40),
    "a tool that must be called": _with(_chat, tools=_TOOLS, tool_choice="required", max_tokens=40),
    "template variables": _with(_chat, extra_body={"chat_template_kwargs": {"enable_thinking": False}}),
    "a value out of range": _with(_chat, temperature=9),
    "too long a prompt": _with(_complete, prompt="word " * 20_000),
    "another model": lambda client, model: _chat(client, "no-such-model"),
    "leaving a stream": _left,
    "embeddings": _vectors,
    "scores": _scores,
}


async def asked(case: Case, client: AsyncOpenAI, model: str) -> dict[str, Any]:
    """What a door answers, or how it refuses."""
    try:
        async with asyncio.timeout(LIMIT_S):
            return {"answer": await case(client, model)}
    except APIStatusError as refusal:
        body = refusal.body if isinstance(refusal.body, dict) else {}
        known = {name: body.get(name) for name in ("code", "param", "message")}
        return {"status": refusal.status_code, **known, "message": str(known["message"])[:120]}
    except Exception as failure:  # whatever a client makes of an answer is a finding
        return {"failure": f"{type(failure).__name__}: {failure}"[:200]}


def verdict(direct: dict[str, Any], through: dict[str, Any]) -> str:
    """What a difference is."""
    if direct == through:
        return "same"
    if "answer" in through and "answer" in direct:
        return "differs"
    if "answer" in through:
        return "only through the mesh"
    if "status" in through and "answer" not in direct:
        return "both refuse"
    if through.get("code") in ("unsupported_parameter", "unsupported_task") or through.get("param"):
        return "by name"
    return "FAILS"


async def compare(url: str, model: str, rest: str, only: list[str]) -> dict[str, Any]:
    """Ask at both doors, one case after another."""
    found = {}
    async with (
        AsyncOpenAI(base_url=url, api_key="EMPTY", max_retries=0, timeout=LIMIT_S) as direct,
        AsyncOpenAI(base_url=rest, api_key="EMPTY", max_retries=0, timeout=LIMIT_S) as through,
    ):
        for name in only:
            at = {"direct": await asked(CASES[name], direct, model)}
            at["mesh"] = await asked(CASES[name], through, "chat")
            found[name] = {"verdict": verdict(at["direct"], at["mesh"]), **at}
            print(f"{name}: {found[name]['verdict']}", file=sys.stderr)
    return found


async def _only_model(url: str) -> str:
    async with AsyncOpenAI(base_url=url, api_key="EMPTY") as client:
        return (await client.models.list()).data[0].id


def main() -> None:
    """Compare, and print a table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("url")
    parser.add_argument("--model")
    parser.add_argument("--options", default="")
    parser.add_argument("--only", nargs="+", choices=list(CASES), default=list(CASES))
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    model = given.model or asyncio.run(_only_model(given.url))
    query = "&".join(part for part in (f"model={model}", given.options) if part)
    with TemporaryDirectory() as folder:
        log = Path(folder) / "mesh.log"
        with mesh(log, "--model", f"chat=sidecar:{given.url}?{query}") as (report, _):
            found = asyncio.run(compare(given.url, model, f"http://{report['rest']}/v1", given.only))
    if given.json is not None:
        given.json.write_text(json.dumps(found, indent=1))
    table = Table("capability", "verdict", "directly", "through the mesh")
    for name, at in found.items():
        same = at["verdict"] == "same"
        shown = ["", ""] if same else [json.dumps(at[door])[:200] for door in ("direct", "mesh")]
        table.add_row(name, at["verdict"], *shown)
    Console(width=160).print(table)
    if any(at["verdict"] == "FAILS" for at in found.values()):
        sys.exit(1)


if __name__ == "__main__":
    main()
