"""Log-probabilities in OpenAI's two shapes."""

from collections.abc import Iterable, Sequence

from inferloom.v1.inference_pb2 import TokenLogprob, TopLogprob

LEAST = -9999.0
"""Stands for minus infinity, which JSON does not have; OpenAI uses the same number."""


def chat_logprobs(tokens: Iterable[TokenLogprob]) -> dict[str, object]:
    """The ``logprobs`` of a chat choice."""
    return {
        "content": [
            {**_entry(token), "top_logprobs": [_entry(alternative) for alternative in token.top]}
            for token in tokens
        ],
        "refusal": None,
    }


def text_logprobs(tokens: Sequence[TokenLogprob], offset: int) -> dict[str, object]:
    """The ``logprobs`` of a text choice, whose text begins at ``offset`` characters."""
    offsets = []
    for token in tokens:
        offsets.append(offset)
        offset += len(token.token)
    return {
        "tokens": [token.token for token in tokens],
        "token_logprobs": [_finite(token.logprob) for token in tokens],
        "top_logprobs": [
            {alternative.token: _finite(alternative.logprob) for alternative in _all(token)}
            for token in tokens
        ],
        "text_offset": offsets,
    }


def _all(token: TokenLogprob) -> list[TokenLogprob | TopLogprob]:
    return [*token.top, token]


def _entry(token: TokenLogprob | TopLogprob) -> dict[str, object]:
    return {"token": token.token, "logprob": _finite(token.logprob), "bytes": list(token.token_bytes)}


def _finite(logprob: float) -> float:
    return max(logprob, LEAST)
