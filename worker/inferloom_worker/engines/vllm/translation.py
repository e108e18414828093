"""A choice of a request in the words of vLLM's parameters. Pure; knows no vLLM."""

from dataclasses import dataclass
from typing import Any

from inferloom_mesh.errors import unsupported
from inferloom_worker.engine.request import GenerationRequest
from inferloom_worker.engines.vllm.carried import KEY, Carried
from inferloom_worker.engines.vllm.structured import structured


@dataclass(frozen=True, slots=True)
class Asked:
    """What vLLM is asked for: one sequence."""

    prompt: list[int]
    committed: int
    """How many of them at its end are the choice's own."""
    parameters: dict[str, Any]
    """Of its ``SamplingParams``, by name, without structured outputs."""
    structured: dict[str, str] | None = None
    """Of its ``StructuredOutputsParams``, by name. None: there are none."""
    followed: bool = False
    """Whether the choice's constraint is ours to follow: vLLM takes the tokens and does not know it."""


def translate(request: GenerationRequest, choice: int, *, carry: bool) -> Asked:
    """What one choice of a request becomes.

    Args:
        request: The request.
        choice: Its choice.
        carry: Whether there is a processor of ours that carries.

    Raises:
        InferloomError: UNSUPPORTED_PARAMETER, where vLLM alone cannot do what is asked for.
    """
    before = request.committed.get(choice)
    committed = [] if before is None else list(before.token_ids)
    parameters: dict[str, Any] = {
        "max_tokens": max(1, request.max_tokens - len(committed)),
        "stop_token_ids": sorted(request.stop_token_ids),
        "ignore_eos": True,  # what ends a choice is all in stop_token_ids
        "detokenize": False,
    }
    if request.top_logprobs is not None:
        parameters["logprobs"] = request.top_logprobs
    if request.prompt_logprobs is not None and choice == 0:
        parameters["prompt_logprobs"] = request.prompt_logprobs
    prompt = [*request.prompt, *committed]
    portable = None if request.constraint is None else request.constraint.portable
    own = None
    if portable is not None and not (committed or request.min_tokens):
        own = structured(portable)
    followed = portable is not None and own is None
    if not carry:
        _check(request, committed=bool(committed), followed=followed)
    elif followed or _needs_carrying(request):
        carried = Carried(request, choice, len(committed), portable if followed else None)
        parameters |= {"temperature": 0.0, "extra_args": {KEY: carried.told()}}
        return Asked(prompt, len(committed), parameters, own, followed)
    parameters |= _own_parameters(request, choice, len(committed))
    return Asked(prompt, len(committed), parameters, own)


def _needs_carrying(request: GenerationRequest) -> bool:
    sampling, limits = request.sampling, request.limits
    return (
        not sampling.greedy
        or bool(sampling.presence_penalty or sampling.frequency_penalty)
        or (limits is not None and bool(limits.sequences))
        # vLLM adds the bias before it multiplies by the penalty, and we after.
        or (bool(sampling.logit_bias) and sampling.repetition_penalty != 1.0)
    )


def _check(request: GenerationRequest, *, committed: bool, followed: bool) -> None:
    sampling, limits = request.sampling, request.limits
    if limits is not None and limits.sequences:
        raise unsupported("sampling.bad_words", "The model bars no words.")
    if followed and not committed:
        raise unsupported("constraint", "vLLM's own structured outputs cannot enforce this constraint.")
    if followed or (committed and (sampling.presence_penalty or sampling.frequency_penalty)):
        words = "The model does not go on from committed tokens with a constraint or output penalties."
        raise unsupported("resume", words)


def _own_parameters(request: GenerationRequest, choice: int, committed: int) -> dict[str, Any]:
    sampling, limits = request.sampling, request.limits
    parameters: dict[str, Any] = {
        "presence_penalty": sampling.presence_penalty,
        "frequency_penalty": sampling.frequency_penalty,
        "repetition_penalty": sampling.repetition_penalty,
        "min_tokens": min(max(0, request.min_tokens - committed), max(1, request.max_tokens - committed)),
    }
    if sampling.greedy:
        parameters["temperature"] = 0.0
    else:
        parameters |= {
            "temperature": sampling.temperature,
            "top_p": sampling.top_p,
            "top_k": sampling.top_k,
            "min_p": sampling.min_p,
            # As vLLM makes seeds of the choices of one request; it takes 63 bits.
            "seed": (sampling.seed + choice) % 2**63,
        }
    if sampling.logit_bias:
        parameters["logit_bias"] = dict(sampling.logit_bias)
    if limits is not None and limits.allowed is not None:
        parameters["allowed_token_ids"] = limits.allowed.tolist()
    return parameters
