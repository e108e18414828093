"""Log-probabilities of a server's answer in the contract's form. Pure."""

from collections.abc import Mapping
from typing import Any

from inferloom.v1 import inference_pb2 as pb
from inferloom_worker.engines.sidecar import reading
from inferloom_worker.engines.sidecar.sse import MalformedError

_MOST_ENTRIES = 2**16
_MOST_TOP = 256


def logprobs(value: object, ids: list[int], top: int) -> list[pb.TokenLogprob]:
    """One entry for each token, in either of OpenAI's shapes.

    Args:
        value: What the server calls ``logprobs``.
        ids: The tokens' ids, where the server tells them.
        top: Alternatives that were asked for.

    Raises:
        MalformedError: It has no such shape.
    """
    told = reading.obj(value, "logprobs")
    if told.get("content") is not None:
        entries = reading.items(told["content"], "logprobs", _MOST_ENTRIES)
        made = [_entry(reading.obj(entry, "a logprob"), top) for entry in entries]
    else:
        made = _columns(told, top)
    if len(ids) == len(made):
        for entry, token in zip(made, ids, strict=True):
            entry.token_id = token
    for entry in made:
        for each in entry.top:
            if not each.token_id and each.token == entry.token and abs(each.logprob - entry.logprob) < 1e-6:
                each.token_id = entry.token_id
                break
    return made


def _entry(told: Mapping[str, Any], top: int) -> pb.TokenLogprob:
    token, spelled = _token(told)
    made = pb.TokenLogprob(
        token_id=reading.count(told.get("id"), "a token's id"),
        logprob=reading.number(told.get("logprob"), "a logprob"),
        token=token,
        token_bytes=spelled,
    )
    alternatives = reading.items(told.get("top_logprobs"), "top_logprobs", _MOST_TOP)
    for rank, each in enumerate(alternatives[:top]):
        about = reading.obj(each, "a logprob")
        text, bytes_of = _token(about)
        made.top.add(
            token_id=reading.count(about.get("id"), "a token's id"),
            logprob=reading.number(about.get("logprob"), "a logprob"),
            token=text,
            token_bytes=bytes_of,
        )
        if not made.rank and bytes_of == spelled:
            made.rank = rank + 1
    return made


def _token(told: Mapping[str, Any]) -> tuple[str, bytes]:
    token = reading.text(told.get("token"), "a token")
    numbers = told.get("bytes")
    if numbers is None:
        return token, token.encode()
    try:
        return token, bytes(reading.items(numbers, "a token's bytes", 2**16))
    except (TypeError, ValueError):
        raise MalformedError("a token's bytes that are none") from None


def _columns(told: Mapping[str, Any], top: int) -> list[pb.TokenLogprob]:
    tokens = reading.items(told.get("tokens"), "tokens", _MOST_ENTRIES)
    numbers = reading.items(told.get("token_logprobs"), "token_logprobs", _MOST_ENTRIES)
    others = reading.items(told.get("top_logprobs"), "top_logprobs", _MOST_ENTRIES) or [None] * len(tokens)
    if not len(tokens) == len(numbers) == len(others):
        raise MalformedError("logprobs of different lengths")
    made = []
    for token, number, alternatives in zip(tokens, numbers, others, strict=True):
        text = reading.text(token, "a token")
        entry = pb.TokenLogprob(
            logprob=reading.number(number, "a logprob"), token=text, token_bytes=text.encode()
        )
        listed = reading.obj(alternatives, "top_logprobs")
        if len(listed) > _MOST_TOP:
            raise MalformedError(f"over {_MOST_TOP} alternatives")
        ranked = sorted(
            ((reading.number(value, "a logprob"), name) for name, value in listed.items()), reverse=True
        )
        for value, name in ranked[:top]:
            entry.top.add(logprob=value, token=name, token_bytes=name.encode())
        made.append(entry)
    return made
