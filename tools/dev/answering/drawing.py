"""Cases: how tokens are chosen, and what is told of them."""

from typing import Any

from openai import AsyncOpenAI

from answering.asking import TEXT, TOKENS, TURN, chat, complete, tokens_of, with_
from answering.case import Case, Seen

_LONG = 40
"""Tokens of a text in which something shows. Where the likeliest is to come, two may be equal in bfloat16."""


_SURE = 4
"""Tokens of which each is likeliest by far: of two that are equal in bfloat16 either may be drawn."""


async def _twice(client: AsyncOpenAI, model: str, **more: Any) -> Seen:
    given = {"temperature": 1, "seed": 3, **more}
    return [[choice["text"] for choice in (await chat(client, model, **given))["choices"]] for _ in range(2)]


def _again(seen: Seen) -> bool:
    return bool(seen[0] == seen[1])


def _several(seen: Seen) -> bool:
    return _again(seen) and len(seen[0]) == len(set(seen[0])) == 3


async def _beside(client: AsyncOpenAI, model: str, tokens: int = _LONG, **more: Any) -> Seen:
    """A greedy answer, and the same with something more."""
    made = [await chat(client, model, max_tokens=tokens, **given) for given in ({}, more)]
    return [each["choices"][0]["text"] for each in made]


def _changed(seen: Seen) -> bool:
    return bool(seen[0] != seen[1])


async def _barred(client: AsyncOpenAI, model: str) -> Seen:
    first = await complete(client, model, max_tokens=1)
    text = first["choices"][0]["text"]
    token, *_ = await tokens_of(client, model, text)
    other = await complete(client, model, max_tokens=1, logit_bias={str(token): -100})
    return [text, other["choices"][0]["text"]]


async def _bad_words(client: AsyncOpenAI, model: str) -> Seen:
    word = (await complete(client, model))["choices"][0]["text"].split()[0].strip(".,")
    other = await complete(client, model, extra_body={"bad_words": [word]})
    return {"word": word, "text": other["choices"][0]["text"]}


async def _allowed(client: AsyncOpenAI, model: str) -> Seen:
    ids = await tokens_of(client, model, " red blue")
    told = await complete(client, model, extra_body={"allowed_token_ids": ids})
    return told["choices"][0]["text"]


def _places(seen: Seen) -> bool:
    entries = seen["choices"][0]["logprobs"] or []
    right = [len(top) == 3 and top[0][1] == value for _, value, top in entries]
    return len(right) == TOKENS and all(right)


def _columns(seen: Seen) -> bool:
    tokens, values = seen["choices"][0]["logprobs"] or ([], [])
    tops = seen["choices"][0]["tops"]
    right = len(tokens) == len(values) == len(tops) == TOKENS
    return right and all(value <= 0 for value in values) and min(tops) >= 2


def _of_prompt(seen: Seen) -> bool:
    _, values = seen["choices"][0]["logprobs"] or ([], [])
    return len(values) > 3 and values[0] is None and all(value < 0 for value in values[1:])


def _ids(seen: Seen) -> bool:
    return len(seen["choices"][0]["ids"] or ()) == TOKENS and bool(seen["usage"][1] == TOKENS)


_IDS = {"return_token_ids": True}

CASES = (
    Case("a seed", _twice, _again, ("seed", "temperature")),
    Case("several choices, a seed", with_(_twice, n=3), _several, ("n", "seed")),
    Case(
        "top_k",
        with_(_beside, tokens=_SURE, temperature=1, extra_body={"top_k": 1}),
        lambda seen: seen[0] == seen[1],
        ("top_k", "temperature"),
    ),
    Case(
        "top_p",
        with_(_beside, tokens=_SURE, temperature=1, top_p=1e-6),
        lambda seen: seen[0] == seen[1],
        ("top_p",),
    ),
    Case(
        "min_p",
        with_(_beside, tokens=_SURE, temperature=1, extra_body={"min_p": 1.0}),
        lambda seen: seen[0] == seen[1],
        ("min_p",),
    ),
    Case(
        "penalties",
        with_(_beside, presence_penalty=1, frequency_penalty=2),
        _changed,
        ("presence_penalty", "frequency_penalty"),
    ),
    Case(
        "repetition penalty",
        with_(_beside, extra_body={"repetition_penalty": 1.8}),
        _changed,
        ("repetition_penalty",),
    ),
    Case("a bias", _barred, _changed, ("logit_bias",)),
    Case("barred words", _bad_words, lambda seen: seen["word"] not in seen["text"], ("bad_words",)),
    Case(
        "allowed tokens",
        _allowed,
        lambda seen: bool(seen) and not seen.replace("red", "").replace("blue", "").strip(),
        ("allowed_token_ids",),
    ),
    Case(
        "log-probabilities of a conversation",
        with_(chat, logprobs=True, top_logprobs=3, messages=TURN),
        _places,
        ("logprobs", "top_logprobs"),
    ),
    Case("log-probabilities of a text", with_(complete, logprobs=2), _columns, ("logprobs",)),
    Case(
        "log-probabilities of a prompt",
        with_(complete, prompt=TEXT, max_tokens=0, echo=True, logprobs=1),
        _of_prompt,
        ("prompt_logprobs",),
    ),
    Case("ids of a conversation's tokens", with_(chat, extra_body=_IDS), _ids, ("return_token_ids",)),
    Case("ids of a text's tokens", with_(complete, extra_body=_IDS), _ids, ("return_token_ids",)),
)
