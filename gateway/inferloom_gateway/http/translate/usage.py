"""Token counts as OpenAI clients read them."""

from collections.abc import Iterable

from inferloom.v1.inference_pb2 import Usage


def completion_usage(usage: Usage) -> dict[str, object]:
    """The usage object of a chat or text completion."""
    return {
        "prompt_tokens": usage.prompt_tokens,
        "completion_tokens": usage.completion_tokens,
        "total_tokens": usage.prompt_tokens + usage.completion_tokens,
        "prompt_tokens_details": {"cached_tokens": usage.cached_prompt_tokens},
        "completion_tokens_details": {
            "reasoning_tokens": usage.reasoning_tokens,
            "accepted_prediction_tokens": usage.accepted_draft_tokens,
            "rejected_prediction_tokens": usage.rejected_draft_tokens,
        },
    }


def total(usages: Iterable[Usage]) -> Usage:
    """The usage of several calls together."""
    result = Usage()
    for usage in usages:
        for counter in Usage.DESCRIPTOR.fields:
            setattr(result, counter.name, getattr(result, counter.name) + getattr(usage, counter.name))
    return result
