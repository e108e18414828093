"""Log-probabilities of a response's text: those of items have bytes, those of events have none."""

from collections.abc import Iterable
from typing import Any

from inferloom.v1.inference_pb2 import TokenLogprob
from inferloom_gateway.http.translate.logprobs import chat_logprobs

Entry = dict[str, Any]


def entries(tokens: Iterable[TokenLogprob]) -> list[Entry]:
    """The ``logprobs`` of a piece of text, as its item has them."""
    found: Any = chat_logprobs(tokens)["content"]
    return list(found)


def bare(found: Iterable[Entry]) -> list[Entry]:
    """The same as events have them."""
    return [
        {
            "token": entry["token"],
            "logprob": entry["logprob"],
            "top_logprobs": [
                {"token": other["token"], "logprob": other["logprob"]} for other in entry["top_logprobs"]
            ],
        }
        for entry in found
    ]
