"""Lines of the files of results, in OpenAI's form. Pure."""

from collections.abc import Mapping
from typing import Any

import orjson

from inferloom_gateway.batching.line_call import Reply
from inferloom_gateway.storage.batch_rows import Result

INPUT, CACHED, OUTPUT, REASONING = "input", "cached", "output", "reasoning"


def request_id(batch: str, line: int) -> str:
    """What a line's request is called, in logs too."""
    return f"{batch}-{line}"


def answered(batch: str, line: int, custom_id: str, reply: Reply) -> Result:
    """The result of a line that was asked for."""
    made = {
        "id": _id(batch, line),
        "custom_id": custom_id,
        "response": {"status_code": reply.status, "request_id": request_id(batch, line), "body": reply.body},
        "error": None,
    }
    return Result(line, reply.status >= 400, _usage(reply.body), orjson.dumps(made) + b"\n")


def unanswered(batch: str, line: int, custom_id: str, outcome: str) -> bytes:
    """The line of one that was not asked for before its batch ended."""
    why = (
        "The batch was cancelled before this request was answered."
        if outcome == "cancelled"
        else "This request could not be answered within the batch's completion window."
    )
    error = {"code": f"batch_{outcome}", "message": why}
    made = {"id": _id(batch, line), "custom_id": custom_id, "response": None, "error": error}
    return orjson.dumps(made) + b"\n"


def _id(batch: str, line: int) -> str:
    return f"batch_req_{batch.partition('_')[2]}_{line}"


def _usage(body: Any) -> dict[str, int]:
    """The tokens that an answer tells of, whichever endpoint's it is."""
    usage = body.get("usage") if isinstance(body, dict) else None
    if not isinstance(usage, dict):
        return {}
    read = usage.get("prompt_tokens_details") or usage.get("input_tokens_details") or {}
    made = usage.get("completion_tokens_details") or usage.get("output_tokens_details") or {}
    taken = usage.get("prompt_tokens", usage.get("input_tokens", usage.get("total_tokens", 0)))
    return {
        INPUT: taken,
        CACHED: read.get("cached_tokens", 0),
        OUTPUT: usage.get("completion_tokens", usage.get("output_tokens", 0)),
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
