"""From a checked Generate request to what its engine is asked for."""

import time
from typing import Any

import grpc

from inferloom.v1 import inference_pb2 as pb
from inferloom_worker.engine.protocol import GenerationRequest, Sampling
from inferloom_worker.hosting.served import Generator, TokenizedPrompt
from inferloom_worker.validate.generate import (
    DRAWN,
    ChatPrompt,
    CompletionRequest,
    Prompt,
    TextPrompt,
    TokenPrompt,
    fit_max_tokens,
)

QUICK_CHARACTERS = 1024
"""Text that is tokenised on the event loop."""


def is_quick(prompt: Prompt) -> bool:
    """Whether it surely takes no time to tokenise; a template may take any."""
    if isinstance(prompt, TextPrompt):
        return len(prompt.text) <= QUICK_CHARACTERS
    return isinstance(prompt, TokenPrompt)


def is_short(prompt: Prompt) -> bool:
    """Whether it is a conversation that most templates render in no time."""
    return (
        isinstance(prompt, ChatPrompt)
        and prompt.chat.ByteSize() <= QUICK_CHARACTERS
        and not prompt.chat.template.ByteSize()
    )


def engine_request(
    asked: CompletionRequest, model: Generator, prompt: TokenizedPrompt, deadline: float | None
) -> GenerationRequest:
    """What the engine is asked for. Raises InferloomError for what does not fit the model's context."""
    ends = frozenset() if asked.stopping.ignore_eos else model.tokenizer.eos_ids
    max_tokens = fit_max_tokens(asked, len(prompt.ids), model.card.context_length)
    return GenerationRequest(
        request_id=asked.request_id,
        prompt=prompt.ids,
        max_tokens=max_tokens,
        sampling=asked.sampling,
        n=asked.n,
        min_tokens=asked.stopping.min_tokens,
        stop_token_ids=asked.stopping.token_ids | ends,
        top_logprobs=asked.top_logprobs,
        deadline=deadline,
        priority=asked.priority,
        cache_salt=asked.cache_salt,
        adapter=model.adapter,
    )


def drawn_with(sampling: Sampling) -> pb.SamplingOptions:
    """The values that tokens are drawn with, as Started tells them."""
    return pb.SamplingOptions(**{name: getattr(sampling, name) for name in DRAWN})


def echo(asked: CompletionRequest, model: Generator, prompt: TokenizedPrompt) -> list[pb.GenerateResponse]:
    """The prompt's text as each choice's first Delta, where it was asked for."""
    if not asked.echo:
        return []
    text = prompt.text
    if text is None:
        text = model.tokenizer.decode(prompt.ids, skip_special_tokens=False)
    return [pb.GenerateResponse(delta=pb.Delta(choice=i, text=text)) for i in range(asked.n)]


def engine_deadline(context: grpc.aio.ServicerContext[Any, Any]) -> float | None:
    """When the engine is to end, so that what it has still reaches the caller in time."""
    left = context.time_remaining()
    if left is None:
        return None
    return time.monotonic() + left - min(0.25, left * 0.05)
