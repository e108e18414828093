"""Cases: vectors, scores, tokens, and what is refused everywhere."""

from typing import Any

from openai import APIStatusError, AsyncOpenAI

from answering.asking import TEXT, beside, chat, complete, tokens_of, with_
from answering.case import Ask, Case, Seen


async def _vectors(client: AsyncOpenAI, model: str) -> Seen:
    made = await client.embeddings.create(model=model, input=["one", "two words"])
    return {
        "vectors": [[round(x, 3) for x in each.embedding[:4]] for each in made.data],
        "dimensions": len(made.data[0].embedding),
        "tokens": made.usage.prompt_tokens,
    }


async def _scores(client: AsyncOpenAI, model: str) -> Seen:
    body = {"model": model, "query": "colour", "documents": ["red", "seven"]}
    answer: Any = await client.post("/rerank", body=body, cast_to=object)
    return [[each["index"], round(each["relevance_score"], 2)] for each in answer["results"]]


async def _tokens(client: AsyncOpenAI, model: str) -> Seen:
    ids = await tokens_of(client, model, TEXT)
    back: Any = await client.post(
        beside(client, "detokenize"), body={"model": model, "tokens": ids}, cast_to=object
    )
    return {"tokens": ids, "text": back["prompt"]}


def _refused(ask: Ask) -> Ask:
    """The refusal is what is wanted."""

    async def refusal(client: AsyncOpenAI, model: str) -> Seen:
        try:
            return {"answer": await ask(client, model)}
        except APIStatusError as error:
            body: Any = error.body if isinstance(error.body, dict) else {}
            return {"status": error.status_code, "code": body.get("code"), "param": body.get("param")}

    return refusal


CASES = (
    Case("tokens of a text, and back", _tokens, lambda seen: TEXT in seen["text"]),
    Case("embeddings", _vectors, lambda seen: len(seen["vectors"]) == 2, ("embedding",)),
    Case("scores", _scores, lambda seen: len(seen) == 2, ("embedding|rerank",)),
    Case(
        "a value out of range",
        _refused(with_(chat, temperature=9)),
        lambda seen: (seen.get("status"), seen.get("param")) == (400, "temperature"),
    ),
    Case(
        "too long a prompt",
        _refused(with_(complete, prompt="word " * 20_000)),
        lambda seen: (seen.get("status"), seen.get("code")) == (400, "context_length_exceeded"),
    ),
    Case(
        "too long an answer",
        _refused(with_(chat, max_tokens=100_000)),
        lambda seen: (seen.get("status"), seen.get("code")) == (400, "context_length_exceeded"),
    ),
    Case(
        "another model",
        _refused(lambda client, _: chat(client, "no-such-model")),
        lambda seen: (seen.get("status"), seen.get("code")) == (404, "model_not_found"),
    ),
)
