"""Generate requests."""

import secrets
from dataclasses import dataclass
from typing import Literal

from inferloom.v1 import inference_pb2 as pb
from inferloom_mesh.errors import InferloomError, Reason, invalid
from inferloom_worker.engine.protocol import Sampling
from inferloom_worker.validate import checks
from inferloom_worker.validate.chat import check_chat
from inferloom_worker.validate.parameters import refuse_unsupported

MAX_CHOICES = 128
MAX_STOPS = 16
MAX_STOP_CHARS = 1024
MAX_STOP_TOKENS = 64
MAX_BIASES = 1024
MAX_TOP_LOGPROBS = 20
MAX_PRIORITY = 100
MAX_SALT_BYTES = 128


@dataclass(frozen=True, slots=True)
class ChatPrompt:
    """A conversation to render."""

    chat: pb.ChatInput
    param = "chat.messages"


@dataclass(frozen=True, slots=True)
class TextPrompt:
    """A text to tokenise."""

    text: str
    param = "text"


@dataclass(frozen=True, slots=True)
class TokenPrompt:
    """Tokens, taken as they are."""

    ids: list[int]
    param = "token_ids"


Prompt = ChatPrompt | TextPrompt | TokenPrompt


@dataclass(frozen=True, slots=True, kw_only=True)
class Stopping:
    """When a completion ends. ``max_tokens`` is None for as many as the context has room for."""

    max_tokens: int | None
    min_tokens: int
    strings: tuple[str, ...]
    token_ids: frozenset[int]
    ignore_eos: bool
    include_stop: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class CompletionRequest:
    """A Generate request, valid but for its length, which is known when it is tokenised."""

    request_id: str
    prompt: Prompt
    sampling: Sampling
    n: int
    stopping: Stopping
    top_logprobs: int | None
    """None: no log-probabilities are wanted."""
    echo: bool
    priority: int
    cache_salt: str


def read_generate(request: pb.GenerateRequest, vocab_size: int) -> CompletionRequest:
    """Check every field of a request.

    Raises:
        InferloomError: INVALID_ARGUMENT or UNSUPPORTED_PARAMETER, at the field.
    """
    refuse_unsupported(request)
    logprobs, top = request.output.logprobs, request.output.top_logprobs
    checks.between("output.top_logprobs", top, 0, MAX_TOP_LOGPROBS)
    if top and not logprobs:
        raise invalid("output.top_logprobs", "output.top_logprobs needs output.logprobs.")
    n = request.sampling.n if request.sampling.HasField("n") else 1
    checks.between("sampling.n", n, 1, MAX_CHOICES)
    checks.between("priority", request.priority, -MAX_PRIORITY, MAX_PRIORITY)
    if len(request.cache_salt.encode()) > MAX_SALT_BYTES:
        raise invalid("cache_salt", f"cache_salt is over {MAX_SALT_BYTES} bytes.")
    return CompletionRequest(
        request_id=checks.request_id(request.request_id),
        prompt=_prompt(request, vocab_size),
        sampling=_sampling(request.sampling, vocab_size),
        n=n,
        stopping=_stopping(request.stopping, vocab_size),
        top_logprobs=top if logprobs else None,
        echo=request.output.echo,
        priority=request.priority,
        cache_salt=request.cache_salt,
    )


def fit_max_tokens(request: CompletionRequest, prompt_tokens: int, context_length: int) -> int:
    """Most tokens to generate after a prompt of ``prompt_tokens``.

    Raises:
        InferloomError: CONTEXT_LENGTH_EXCEEDED; or INVALID_ARGUMENT for an empty prompt, or for more minimum
            tokens than there is room for.
    """
    param = request.prompt.param
    if prompt_tokens == 0:
        raise invalid(param, f"{param} has no tokens.")
    room = context_length - prompt_tokens
    if room < 1:
        raise too_long(param, prompt_tokens, context_length)
    wanted = request.stopping.max_tokens
    if wanted is not None and wanted > room:
        raise InferloomError(
            Reason.CONTEXT_LENGTH_EXCEEDED,
            f"The model's context length is {context_length} tokens; the prompt has {prompt_tokens} and "
            f"{wanted} more were asked for, {prompt_tokens + wanted} in all.",
            param="stopping.max_tokens",
        )
    limit = room if wanted is None else wanted
    checks.between("stopping.min_tokens", request.stopping.min_tokens, 0, limit)
    return limit


def too_long(param: str, tokens: int, context_length: int, at_least: bool = False) -> InferloomError:
    """The error for an input that does not fit the context."""
    count = f"at least {tokens}" if at_least else str(tokens)
    return InferloomError(
        Reason.CONTEXT_LENGTH_EXCEEDED,
        f"The model's context length is {context_length} tokens, and {param} has {count}.",
        param=param,
    )


def _prompt(request: pb.GenerateRequest, vocab_size: int) -> Prompt:
    match request.WhichOneof("input"):
        case "chat":
            check_chat(request.chat)
            return ChatPrompt(request.chat)
        case "text":
            return TextPrompt(request.text)
        case "token_ids":
            return TokenPrompt(checks.token_ids("token_ids.ids", request.token_ids.ids, vocab_size))
        case _:
            raise invalid("input", "One of chat, text and token_ids is required.")


_Ranged = Literal[
    "temperature", "top_p", "min_p", "presence_penalty", "frequency_penalty", "repetition_penalty"
]

_RANGES: dict[_Ranged, tuple[float, float]] = {
    "temperature": (0, 2),
    "top_p": (0, 1),
    "min_p": (0, 1),
    "presence_penalty": (-2, 2),
    "frequency_penalty": (-2, 2),
    "repetition_penalty": (0.0099999997, 10),  # 0.01 is a little less in float32
}


def _sampling(options: pb.SamplingOptions, vocab_size: int) -> Sampling:
    values: dict[str, float] = {}
    for name, (least, most) in _RANGES.items():
        if options.HasField(name):
            values[name] = getattr(options, name)
            checks.between(f"sampling.{name}", values[name], least, most)
    if "top_p" in values:
        checks.above("sampling.top_p", values["top_p"], 0, 1)
    checks.at_most("sampling.logit_bias", len(options.logit_bias), MAX_BIASES)
    for token, bias in options.logit_bias.items():
        if token >= vocab_size:
            raise checks.outside(f"sampling.logit_bias[{token}]", token, vocab_size)
        checks.between(f"sampling.logit_bias[{token}]", bias, -100, 100)
    return Sampling(
        **values,
        top_k=options.top_k,
        logit_bias=dict(options.logit_bias),
        seed=options.seed if options.HasField("seed") else secrets.randbits(64),
    )


def _stopping(options: pb.StoppingOptions, vocab_size: int) -> Stopping:
    max_tokens = options.max_tokens if options.HasField("max_tokens") else None
    if max_tokens == 0:
        raise invalid("stopping.max_tokens", "stopping.max_tokens must be at least 1.")
    checks.at_most("stopping.stop", len(options.stop), MAX_STOPS)
    for index, stop in enumerate(options.stop):
        param = f"stopping.stop[{index}]"
        if not stop:
            raise invalid(param, f"{param} must not be empty.")
        if len(stop) > MAX_STOP_CHARS:
            raise invalid(param, f"{param} can have at most {MAX_STOP_CHARS} characters, not {len(stop)}.")
    checks.at_most("stopping.stop_token_ids", len(options.stop_token_ids), MAX_STOP_TOKENS)
    if options.stop_token_ids:
        checks.token_ids("stopping.stop_token_ids", options.stop_token_ids, vocab_size)
    return Stopping(
        max_tokens=max_tokens,
        min_tokens=options.min_tokens,
        strings=tuple(options.stop),
        token_ids=frozenset(options.stop_token_ids),
        ignore_eos=options.ignore_eos,
        include_stop=options.include_stop,
    )
