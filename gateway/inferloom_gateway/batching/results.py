"""Lines of the files of results, in OpenAI's form. Pure."""

import json
from collections.abc import Mapping
from typing import Any

import orjson

from inferloom_gateway.batching.line_call import Reply
from inferloom_gateway.http.json_line import json_line
from inferloom_gateway.storage.batch_results import Result

_USAGE = b'"usage":'
_DECODER = json.JSONDecoder()

INPUT, CACHED, OUTPUT, REASONING = "input", "cached", "output", "reasoning"


def request_id(batch: str, line: int) -> str:
    """What a line's request is called, in logs too."""
    return f"{batch}-{line}"


def answered(batch: str, line: int, custom_id: str, reply: Reply) -> Result:
    """The result of a line that was asked for. Its answer, which may be long, is not read through."""
    response = {
        "status_code": reply.status,
        "request_id": request_id(batch, line),
        "body": orjson.Fragment(reply.raw),
    }
    made = {"id": _id(batch, line), "custom_id": custom_id, "response": response, "error": None}
    return Result(line, reply.status >= 400, _usage(reply.raw), json_line(made) + b"\n")


def unanswered(batch: str, line: int, custom_id: str, outcome: str) -> bytes:
    """The line of one that was not asked for before its batch ended."""
    why = (
        "The batch was cancelled before this request was answered."
        if outcome == "cancelled"
        else "This request could not be answered within the batch's completion window."
    )
    error = {"code": f"batch_{outcome}", "message": why}
    made = {"id": _id(batch, line), "custom_id": custom_id, "response": None, "error": error}
    return json_line(made) + b"\n"


def _id(batch: str, line: int) -> str:
    return f"batch_req_{batch.partition('_')[2]}_{line}"


def _usage(answer: bytes) -> dict[str, int]:
    """The tokens that an answer tells of, whichever endpoint's it is; it says so behind its content."""
    at = answer.rfind(_USAGE)  # inside of a text its quotes would be escaped
    if at < 0:
        return {}
    told, _ = _DECODER.raw_decode(answer[at + len(_USAGE) :].decode())
    if not isinstance(told, dict):
        return {}
    read = told.get("prompt_tokens_details") or told.get("input_tokens_details") or {}
    made = told.get("completion_tokens_details") or told.get("output_tokens_details") or {}
    taken = told.get("prompt_tokens", told.get("input_tokens", told.get("total_tokens", 0)))
    return {
        INPUT: taken,
        CACHED: read.get("cached_tokens", 0),
        OUTPUT: told.get("completion_tokens", told.get("output_tokens", 0)),
        REASONING: made.get("reasoning_tokens", 0),
    }


def usage(total: Mapping[str, int]) -> dict[str, Any]:
    """The usage of a batch."""
    return {
        "input_tokens": total[INPUT],
        "input_tokens_details": {"cached_tokens": total[CACHED]},
        "output_tokens": total[OUTPUT],
        "output_tokens_details": {"reasoning_tokens": total[REASONING]},
        "total_tokens": total[INPUT] + total[OUTPUT],
    }
