"""The parameters that chat and text completions share, as the contract's groups."""

from typing import Any

import orjson
from google.protobuf.struct_pb2 import Struct

from inferloom.v1 import inference_pb2 as pb
from inferloom_gateway.http.schema.base import UINT32_MAX
from inferloom_gateway.http.schema.sampling import CompletionParameters
from inferloom_gateway.http.translate.reports import Reports
from inferloom_mesh.errors import invalid

MAX_SCHEMA_DEPTH = 64
"""Deepest nesting of schemas, which travel as text: as workers take them."""

MAX_DEPTH = 32
"""Deepest nesting of variables: each level of a Struct takes three of protobuf's hundred."""

_SAMPLING = frozenset(
    {
        *("temperature", "top_p", "top_k", "min_p", "presence_penalty", "frequency_penalty"),
        *("repetition_penalty", "logit_bias", "seed", "n", "allowed_token_ids", "bad_words"),
    }
)
_OUTPUT = frozenset({"prompt_logprobs", "skip_special_tokens", "return_token_ids"})
_COMMON = frozenset(
    {"truncate_prompt_tokens", "priority", "service_tier", "cache_salt", "prompt_cache_key"},
)
"""The fields that each group is made of: most requests have none of them, which is quicker seen than made."""


def sampling(body: CompletionParameters) -> pb.SamplingOptions | None:
    """How tokens are drawn; None: as the model's own."""
    if _SAMPLING.isdisjoint(body.model_fields_set):
        return None
    options = pb.SamplingOptions(
        temperature=body.temperature,
        top_p=body.top_p,
        top_k=0 if body.top_k == -1 else body.top_k,
        min_p=body.min_p,
        presence_penalty=body.presence_penalty,
        frequency_penalty=body.frequency_penalty,
        repetition_penalty=body.repetition_penalty,
        logit_bias=_logit_bias(body.logit_bias) if body.logit_bias else None,
        seed=None if body.seed is None else body.seed & (2**64 - 1),
        n=body.n,
        allowed_token_ids=body.allowed_token_ids,
        bad_words=body.bad_words,
    )
    if options.HasField("top_p") and options.top_p == 0:  # OpenAI's least; also what float32 makes of 1e-50
        options.ClearField("top_p")
        options.top_k = 1
    return options


TIERS = {"flex": -10, "scale": 10, "priority": 10, "fast": 10, "ultrafast": 10}
"""The contract's priorities of service tiers; those of the others are 0."""


def common(body: CompletionParameters) -> dict[str, Any]:
    """What the endpoints share besides the groups: the prompt's length, its order, and where it goes.

    Raises:
        InferloomError: No token of the prompt is to be kept.
    """
    if _COMMON.isdisjoint(body.model_fields_set):
        return {}
    kept = body.truncate_prompt_tokens
    if kept == 0:
        name = "truncate_prompt_tokens"
        raise invalid(name, f"Invalid '{name}': must be -1 or at least 1, and not 0.")
    # vLLM runs the lower number earlier, the contract the higher one.
    priority = TIERS.get(body.service_tier or "") if body.priority is None else -body.priority
    return {
        "truncate_prompt_tokens": None if kept is None else max(kept, 0),
        "priority": priority,
        "cache_salt": body.cache_salt or "",
        "prompt_cache_key": body.prompt_cache_key or "",
    }


def service_tier(body: CompletionParameters, started: pb.Started) -> dict[str, str]:
    """Which tier a request was answered in, where it says one."""
    if body.service_tier is None:
        return {}
    return {"service_tier": tier(started)}


def tier(started: pb.Started) -> str:
    """The tier that a priority amounts to."""
    return "flex" if started.priority < 0 else "priority" if started.priority else "default"


def stopping(body: CompletionParameters, max_tokens: int | None) -> pb.StoppingOptions:
    """When a completion ends."""
    return pb.StoppingOptions(
        max_tokens=max_tokens,
        min_tokens=body.min_tokens,
        stop=body.stop,
        stop_token_ids=body.stop_token_ids,
        ignore_eos=body.ignore_eos,
        include_stop=body.include_stop_str_in_output,
    )


def output(
    body: CompletionParameters,
    top_logprobs: int | None,
    *,
    echo: bool = False,
    chosen_by_logprob: bool = False,
) -> pb.OutputOptions | None:
    """What is returned beside text.

    Args:
        body: The request.
        top_logprobs: Alternatives at each token. None: no log-probabilities are wanted.
        echo: Whether the prompt is repeated, with log-probabilities like those of the completion.
        chosen_by_logprob: Whether choices are compared, so that their log-probabilities are needed anyway.

    Raises:
        InferloomError: The prompt's log-probabilities are wanted in a stream.
    """
    if top_logprobs is None and not (echo or chosen_by_logprob) and _OUTPUT.isdisjoint(body.model_fields_set):
        return None
    if body.prompt_logprobs is not None and body.stream:
        raise invalid("prompt_logprobs", "prompt_logprobs is not available when stream is true.")
    of_prompt = [body.prompt_logprobs, top_logprobs if echo else None]
    wanted = [count for count in of_prompt if count is not None]
    options = pb.OutputOptions(
        logprobs=True if chosen_by_logprob or top_logprobs is not None else None,
        top_logprobs=top_logprobs,
        prompt_logprobs=max(wanted) if wanted else None,
        echo=echo or None,
        skip_special_tokens=body.skip_special_tokens,
        prompt_token_ids=body.return_token_ids or None,
    )
    return options if options.ListFields() else None


def reports(body: CompletionParameters) -> Reports:
    """What an answer, or each chunk of a stream, tells besides.

    Raises:
        InferloomError: There are stream options, and no stream.
    """
    streamed = body.stream_options
    if streamed is not None and not body.stream:
        raise invalid("stream_options", "stream_options is only allowed when stream is true.")
    usage = bool(streamed and streamed.include_usage)
    return Reports(
        usage=usage,
        running_usage=usage and bool(streamed and streamed.continuous_usage_stats),
        token_ids=bool(body.return_token_ids),
        tokens_as_ids=bool(body.return_tokens_as_token_ids),
    )


def struct(param: str, value: dict[str, Any] | None) -> Struct | None:
    """A JSON object as a Struct.

    Raises:
        InferloomError: It is nested too deeply.
    """
    if not value:
        return None
    _check_depth(param, value, MAX_DEPTH)
    result = Struct()
    result.update(value)
    return result


def json_text(param: str, value: dict[str, Any] | None) -> str:
    """A JSON Schema as its text; the empty text for none.

    Raises:
        InferloomError: It is nested too deeply.
    """
    if value is None:
        return ""
    _check_depth(param, value, MAX_SCHEMA_DEPTH)
    return orjson.dumps(value).decode()


def _logit_bias(given: dict[str, float]) -> dict[int, float]:
    bias: dict[int, float] = {}
    for key, value in given.items():
        if not (key.isascii() and key.isdigit() and len(key) <= 10 and int(key) <= UINT32_MAX):
            raise invalid("logit_bias", f"Invalid 'logit_bias': {key[:40]!r} is not a token id.")
        bias[int(key)] = value
    return bias


def _check_depth(param: str, value: Any, most: int) -> None:
    """Count the levels of nesting, without recursion."""
    depth, level = 0, [value]
    while level:
        depth += 1
        if depth > most:
            raise invalid(param, f"Invalid '{param}': it is nested more than {most} levels deep.")
        level = [
            child
            for item in level
            if isinstance(item, (dict, list))
            for child in (item.values() if isinstance(item, dict) else item)
        ]
