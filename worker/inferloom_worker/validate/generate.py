"""Generate requests."""

import secrets
from collections.abc import Collection
from typing import Any

from inferloom.parameters import FIELDS
from inferloom.v1 import inference_pb2 as pb
from inferloom_mesh.errors import InferloomError, Reason, invalid
from inferloom_mesh.light_dataclasses import dataclass
from inferloom_mesh.named_fields import named
from inferloom_worker.constrain.grammar import Grammar
from inferloom_worker.constrain.reading import read_constraint
from inferloom_worker.engine.sampling import Sampling
from inferloom_worker.validate import checks
from inferloom_worker.validate.chat import check_chat
from inferloom_worker.validate.ranges import check_fields, check_honoured
from inferloom_worker.validate.resume import Resumption, read_resume


@dataclass(frozen=True, slots=True)
class ChatPrompt:
    """A conversation to render."""

    chat: pb.ChatInput
    param = "chat.messages"


@dataclass(frozen=True, slots=True)
class TextPrompt:
    """A text to tokenise; with a ``suffix``, what is generated is to fit between both."""

    text: str
    suffix: str = ""
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
    prompt_logprobs: int | None
    """The same of the prompt's tokens."""
    prompt_token_ids: bool
    skip_special_tokens: bool
    echo: bool
    priority: int
    cache_salt: str
    grammar: Grammar | None
    """What the text must conform to. None: it is free."""
    truncate: int | None
    """Tokens of the prompt that are kept, the last ones. 0: as many as fit. None: all."""
    allowed: frozenset[int] | None
    """The only tokens that may be drawn. None: all."""
    bad_words: tuple[str, ...]
    prediction: str
    resume: Resumption | None = None
    """What was already generated for it. None: it is new."""
    said: frozenset[str] = frozenset()
    """Which of the sampling values the request itself gives."""


def read_generate(
    request: pb.GenerateRequest,
    vocab_size: int,
    defaults: pb.SamplingOptions | None = None,
    *,
    max_priority: int = 100,
    honoured: Collection[str] | None = None,
) -> CompletionRequest:
    """Check every field of a request. A priority above ``max_priority`` becomes that.

    Args:
        request: The request.
        vocab_size: Tokens of the model.
        defaults: What its card says for requests that are silent.
        max_priority: The highest that there is.
        honoured: The optional fields that the card lists. None: all that models of its kinds may.

    Raises:
        InferloomError: INVALID_ARGUMENT or UNSUPPORTED_PARAMETER, at the field.
    """
    check_fields(request)
    if honoured is not None:
        check_honoured(request, honoured)
    logprobs, top = request.output.logprobs, request.output.top_logprobs
    if top and not logprobs:
        raise invalid("output.top_logprobs", f"output.top_logprobs needs {named('output.logprobs')}.")
    n = request.sampling.n if request.sampling.HasField("n") else 1
    return CompletionRequest(
        request_id=checks.request_id(request.request_id),
        prompt=_prompt(request, vocab_size),
        sampling=_sampling(request.sampling, vocab_size, defaults or pb.SamplingOptions()),
        n=n,
        stopping=_stopping(request.stopping, vocab_size),
        top_logprobs=top if logprobs else None,
        prompt_logprobs=(
            request.output.prompt_logprobs if request.output.HasField("prompt_logprobs") else None
        ),
        prompt_token_ids=request.output.prompt_token_ids,
        skip_special_tokens=(
            request.output.skip_special_tokens or not request.output.HasField("skip_special_tokens")
        ),
        echo=request.output.echo,
        priority=min(request.priority, max_priority),
        cache_salt=request.cache_salt,
        truncate=request.truncate_prompt_tokens if request.HasField("truncate_prompt_tokens") else None,
        allowed=_allowed(request.sampling, vocab_size),
        bad_words=tuple(request.sampling.bad_words),
        prediction=request.prediction,
        resume=read_resume(request, vocab_size, n),
        grammar=read_constraint(request.constraint) if request.HasField("constraint") else None,
        said=frozenset([field.name for field, _ in request.sampling.ListFields()]),
    )


def fit_max_tokens(request: CompletionRequest, prompt_tokens: int, context_length: int) -> int:
    """Most tokens to generate after a prompt of ``prompt_tokens``.

    Raises:
        InferloomError: CONTEXT_LENGTH_EXCEEDED; or INVALID_ARGUMENT for an empty prompt, or for more minimum
            tokens than there is room for.
    """
    param = request.prompt.param
    if prompt_tokens == 0:
        raise invalid(param, f"{param} has no tokens, and the model has none that begins a document.")
    room = context_length - prompt_tokens
    wanted = request.stopping.max_tokens
    if room < 0 or (room == 0 and wanted != 0):
        raise too_long(param, prompt_tokens, context_length)
    if wanted is not None and wanted > room:
        raise InferloomError(
            Reason.CONTEXT_LENGTH_EXCEEDED,
            _requested(request.prompt, prompt_tokens, wanted, context_length),
            param="stopping.max_tokens",
        )
    limit = room if wanted is None else wanted
    checks.between("stopping.min_tokens", request.stopping.min_tokens, 0, limit)
    return limit


def too_long(param: str, tokens: int, context_length: int, at_least: bool = False) -> InferloomError:
    """The error for an input that does not fit the context.

    The sentences are OpenAI's to the letter: clients read them to know that a conversation must be cut.
    """
    count = f"at least {tokens}" if at_least else str(tokens)
    limit = f"This model's maximum context length is {context_length} tokens"
    if param == ChatPrompt.param:
        message = (
            f"{limit}. However, your messages resulted in {count} tokens. "
            "Please reduce the length of the messages."
        )
    else:
        message = (
            f"{limit}, however you requested {count} tokens ({tokens} in your prompt; 0 for the completion). "
            "Please reduce your prompt; or completion length."
        )
    return InferloomError(Reason.CONTEXT_LENGTH_EXCEEDED, message, param=param)


def _requested(prompt: Prompt, prompt_tokens: int, completion_tokens: int, context_length: int) -> str:
    limit = f"This model's maximum context length is {context_length} tokens"
    requested = f"you requested {prompt_tokens + completion_tokens} tokens"
    if isinstance(prompt, ChatPrompt):
        return (
            f"{limit}. However, {requested} ({prompt_tokens} in the messages, {completion_tokens} in the "
            "completion). Please reduce the length of the messages or completion."
        )
    return (
        f"{limit}, however {requested} ({prompt_tokens} in your prompt; {completion_tokens} for the "
        "completion). Please reduce your prompt; or completion length."
    )


def _allowed(options: pb.SamplingOptions, vocab_size: int) -> frozenset[int] | None:
    ids = options.allowed_token_ids
    return frozenset(checks.token_ids("sampling.allowed_token_ids", ids, vocab_size)) if ids else None


def _prompt(request: pb.GenerateRequest, vocab_size: int) -> Prompt:
    if request.suffix:
        _check_suffix(request)
    match request.WhichOneof("input"):
        case "chat":
            check_chat(request.chat)
            return ChatPrompt(request.chat)
        case "text":
            return TextPrompt(request.text, request.suffix)
        case "token_ids":
            return TokenPrompt(checks.token_ids("token_ids.ids", request.token_ids.ids, vocab_size))
        case _:
            raise invalid("input", "One of chat, text and token_ids is required.")


def _check_suffix(request: pb.GenerateRequest) -> None:
    if request.WhichOneof("input") != "text":
        raise invalid("suffix", "suffix needs text as input.")
    if request.HasField("truncate_prompt_tokens"):
        raise invalid("suffix", "suffix excludes truncate_prompt_tokens.")
    if request.output.echo and request.output.HasField("prompt_logprobs"):
        raise invalid("suffix", f"suffix excludes echo with {named('output.prompt_logprobs')}.")


DRAWN = (
    "temperature",
    "top_p",
    "top_k",
    "min_p",
    "presence_penalty",
    "frequency_penalty",
    "repetition_penalty",
)
"""The fields that say how a token is drawn from its distribution."""

_USUAL = {
    row.capability: float(row.default) if row.type == "float" else int(row.default)
    for row in FIELDS
    if row.request == "GenerateRequest" and row.capability in DRAWN and row.default is not None
}


def _sampling(options: pb.SamplingOptions, vocab_size: int, defaults: pb.SamplingOptions) -> Sampling:
    """What the request says, else the model's card, else the contract."""
    values: dict[str, Any] = dict(_USUAL)
    for said in (defaults, options):
        values.update((at.name, value) for at, value in said.ListFields() if at.name in _USUAL)
    for token in options.logit_bias:
        if token >= vocab_size:
            raise checks.outside(f"sampling.logit_bias[{token}]", token, vocab_size)
    return Sampling(
        **values,
        logit_bias=dict(options.logit_bias),
        seed=options.seed if options.HasField("seed") else secrets.randbits(64),
    )


def _stopping(options: pb.StoppingOptions, vocab_size: int) -> Stopping:
    if options.stop_token_ids:
        checks.token_ids("stopping.stop_token_ids", options.stop_token_ids, vocab_size)
    return Stopping(
        max_tokens=options.max_tokens if options.HasField("max_tokens") else None,
        min_tokens=options.min_tokens,
        strings=tuple(options.stop),
        token_ids=frozenset(options.stop_token_ids),
        ignore_eos=options.ignore_eos,
        include_stop=options.include_stop,
    )
