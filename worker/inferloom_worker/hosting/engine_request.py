"""From a checked Generate request to what its engine is asked for."""

from collections.abc import Sequence

from inferloom.v1 import inference_pb2 as pb
from inferloom_mesh.light_dataclasses import dataclass
from inferloom_worker.engine.adapter import Adapter
from inferloom_worker.engine.constraint import Constraint
from inferloom_worker.engine.limits import TokenLimits
from inferloom_worker.engine.prediction import NOTHING, Prediction
from inferloom_worker.engine.request import GenerationRequest
from inferloom_worker.engine.sampling import Sampling
from inferloom_worker.hosting.answer import Terms
from inferloom_worker.output.prompt import PromptReport
from inferloom_worker.text.tokenizer import Tokenizer
from inferloom_worker.validate.generate import (
    DRAWN,
    ChatPrompt,
    CompletionRequest,
    TextPrompt,
    TokenPrompt,
    fit_max_tokens,
)

QUICK_CHARACTERS = 1024
"""Text that is tokenised on the event loop."""


def is_quick(asked: CompletionRequest) -> bool:
    """Whether it surely takes no time to tokenise; a template may take any."""
    prompt = asked.prompt
    if (
        asked.bad_words
        or asked.prediction
        or asked.resume
        or (isinstance(prompt, TextPrompt) and prompt.suffix)
    ):
        return False
    if isinstance(prompt, TextPrompt):
        return len(prompt.text) <= QUICK_CHARACTERS
    return isinstance(prompt, TokenPrompt)


def is_short(asked: CompletionRequest) -> bool:
    """Whether it is a conversation that most templates render in no time."""
    prompt = asked.prompt
    return (
        isinstance(prompt, ChatPrompt)
        and not (asked.bad_words or asked.prediction or asked.resume)
        and prompt.chat.ByteSize() <= QUICK_CHARACTERS
        and not prompt.chat.template.ByteSize()
    )


@dataclass(frozen=True, slots=True)
class TokenizedPrompt:
    """A prompt's tokens, and its text where it had one; and the tokens of the request's other texts."""

    ids: list[int]
    text: str | None
    bad_words: Sequence[Sequence[int]] = ()
    prediction: Prediction = NOTHING
    ends: frozenset[int] = frozenset()
    """Tokens that end a completion after this prompt, besides the model's own."""
    reread: bool = True
    """Whether its tokens are not what the request itself holds, so that they could be others another time."""


def engine_request(
    asked: CompletionRequest,
    prompt: TokenizedPrompt,
    terms: Terms,
    *,
    tokenizer: Tokenizer,
    context_length: int,
    adapter: Adapter | None,
    constraint: Constraint | None = None,
) -> GenerationRequest:
    """What the engine is asked for. Raises InferloomError for what does not fit the model's context."""
    ends = frozenset() if asked.stopping.ignore_eos else tokenizer.eos_ids
    max_tokens = fit_max_tokens(asked, len(prompt.ids), context_length)
    return GenerationRequest(
        request_id=asked.request_id,
        prompt=prompt.ids,
        max_tokens=max_tokens,
        sampling=asked.sampling,
        n=asked.n,
        min_tokens=asked.stopping.min_tokens,
        stop_token_ids=asked.stopping.token_ids | ends | prompt.ends,
        top_logprobs=asked.top_logprobs,
        prompt_logprobs=None if goes_on(asked) else asked.prompt_logprobs,
        deadline=terms.deadline,
        priority=asked.priority,
        tenant=terms.tenant,
        share=terms.share,
        # A tenant's salts are his own: nobody meets another's cache by guessing.
        cache_salt=f"{terms.cache_scope}\0{asked.cache_salt}" if terms.cache_scope else asked.cache_salt,
        adapter=adapter,
        constraint=constraint,
        limits=(
            None
            if asked.allowed is None and not prompt.bad_words
            else TokenLimits(asked.allowed, prompt.bad_words)
        ),
        prediction=prompt.prediction,
        moved=asked.resume is not None,
    )


def goes_on(asked: CompletionRequest) -> bool:
    """Whether some of its answer was given already, and so all that is told of its prompt."""
    return asked.resume is not None and bool(asked.resume.choices)


def drawn_with(sampling: Sampling) -> pb.SamplingOptions:
    """The values that tokens are drawn with, as Started tells them."""
    return pb.SamplingOptions(**{name: getattr(sampling, name) for name in DRAWN})


@dataclass(frozen=True, slots=True)
class PromptTold:
    """What is told of a prompt: the events that report it, and the Deltas that repeat its text."""

    report: PromptReport | None
    echo: list[pb.GenerateResponse]


def tells_of_prompt(asked: CompletionRequest) -> bool:
    """Whether anything is to be told of its prompt."""
    return asked.echo or asked.prompt_token_ids or asked.prompt_logprobs is not None


def told(asked: CompletionRequest, prompt: TokenizedPrompt, tokenizer: Tokenizer) -> PromptTold:
    """What was asked for of that. Takes time with the length of the prompt."""
    if goes_on(asked):
        return PromptTold(None, [])
    text = prompt.text or ""
    if prompt.text is None and asked.echo:
        text = tokenizer.decode(prompt.ids, skip_special_tokens=False)
    echo = [pb.GenerateResponse(delta=pb.Delta(choice=i, text=text)) for i in range(asked.n * asked.echo)]
    report = None
    if asked.prompt_token_ids or asked.prompt_logprobs is not None:
        report = PromptReport(tokenizer, prompt.ids, text, asked.prompt_logprobs)
    return PromptTold(report, echo)


def prompt_room(asked: CompletionRequest, context_length: int) -> int | None:
    """How many tokens of its prompt a request wants to be kept, at least one. None: all."""
    if asked.truncate is None:
        return None
    wanted = asked.stopping.max_tokens
    return asked.truncate or max(1, context_length - (1 if wanted is None else wanted))


def word_tokens(tokenizer: Tokenizer, words: Sequence[str]) -> list[list[int]]:
    """The tokens that words are read as, by themselves and after a space."""
    found: dict[tuple[int, ...], None] = {}
    for word in words:
        for text in (word.lstrip(), f" {word.lstrip()}"):
            if ids := tokenizer.encode(text, add_special_tokens=False):
                found[tuple(ids)] = None
    return [list(ids) for ids in found]
