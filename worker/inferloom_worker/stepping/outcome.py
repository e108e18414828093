"""What a step yields for one sequence."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from inferloom_mesh.light_dataclasses import dataclass
from inferloom_worker.engine.constraint import ConstraintError, Matcher
from inferloom_worker.engine.events import EndReason, TokenLogprobs
from inferloom_worker.engine.limits import NOTHING_ALLOWED
from inferloom_worker.engine.request import GenerationRequest
from inferloom_worker.stepping.drawing import NO_TOKEN
from inferloom_worker.stepping.masks import FREE, PlaceMask
from inferloom_worker.stepping.sampler import SampledToken
from inferloom_worker.stepping.work import Work


@dataclass(frozen=True, slots=True)
class Outcome:
    """Tokens that are certain now, with their log-probabilities where these are wanted. Guesses of the draft
    foresaw ``accepted`` of them; ``rejected`` guesses are not among them."""

    tokens: list[int]
    logprobs: list[TokenLogprobs]
    accepted: int
    rejected: int
    end: EndReason | None
    failure: str | None = None
    """Why there is no token at the place after them, so that the request ends: in words for its caller."""
    by_constraint: bool = False
    """Whether that is for the request's own constraint, or for the tokens that it allows."""


NO_NUMBERS = "The model computed no finite numbers for this request."
NO_TIME = "The worker is too busy to follow the constraints of all requests."
DEAD_END = "The constraint allows no token here, and no end."
TOO_EARLY = "The constraint allows only tokens that end the answer here, and min_tokens bars those."


def verify(work: Work, sampled: Sequence[SampledToken], masks: Sequence[PlaceMask] = ()) -> Outcome:
    """Decide what a work yields.

    ``sampled`` [1 + draft] are the tokens chosen after the sequence's own and after each token of the draft.
    One counts while the draft before it is what was chosen: then it is the very token that a step without
    drafts would have chosen, because draws depend on nothing but their place. Empty for a part of a prompt.
    ``masks`` are what a constraint allows at these places; empty where there is none.
    """
    sequence = work.sequence
    request = sequence.request
    generated = len(sequence.tokens) - len(request.prompt)
    if len(sampled) == 1 and not masks and (only := sampled[0]).token != NO_TOKEN:  # most are so
        scored = [] if only.logprobs is None else [only.logprobs]
        return Outcome([only.token], scored, 0, 0, _end(request, only.token, generated + 1))
    tokens: list[int] = []
    logprobs: list[TokenLogprobs] = []
    end: EndReason | None = None
    accepted = 0
    for place, chosen in enumerate(sampled):
        mask = masks[place] if masks else FREE
        if mask.over:
            end = EndReason.COMPLETE
            break
        if mask.late:
            return Outcome(tokens, logprobs, accepted, work.guessed - accepted, None, NO_TIME)
        token = chosen.token
        if token == NO_TOKEN or mask.error is not None:
            barred = mask.error is not None or mask.empty
            words = str(mask.error) if mask.error is not None else DEAD_END if barred else NO_NUMBERS
            if not barred and request.limits is not None:
                barred, words = True, NOTHING_ALLOWED
            if not barred and generated + place < request.min_tokens and _only(mask, request.stop_token_ids):
                barred, words = True, TOO_EARLY
            return Outcome(
                tokens, logprobs, accepted, work.guessed - accepted, None, words, by_constraint=barred
            )
        tokens.append(token)
        if chosen.logprobs is not None:
            logprobs.append(chosen.logprobs)
        foreseen = place < len(work.draft) and work.draft[place] == token
        accepted += foreseen and place >= work.forced
        end = _end(request, token, generated + len(tokens))
        if end is not None or not foreseen:
            break
    return Outcome(tokens, logprobs, accepted, work.guessed - accepted if work.draft else 0, end)


def _end(request: GenerationRequest, token: int, generated: int) -> EndReason | None:
    """Whether a choice ends with its token number ``generated``."""
    if token in request.stop_token_ids:
        return EndReason.STOP_TOKEN
    return EndReason.LENGTH if generated >= request.max_tokens else None


def _only(mask: PlaceMask, tokens: frozenset[int]) -> bool:
    """Whether a mask allows none but these tokens."""
    if mask.words is None:
        return False
    left = np.unpackbits(mask.words.view(np.uint8), bitorder="little")
    left[[token for token in tokens if token < len(left)]] = 0
    return not left.any()


def follow(outcome: Outcome, matcher: Matcher, stops: frozenset[int]) -> Outcome:
    """Take a matcher along with the tokens of an outcome, which ends where nothing may follow them. A token
    of ``stops`` that ends it is no part of what the constraint is about."""
    ended = outcome.end is EndReason.STOP_TOKEN
    tokens = outcome.tokens[:-1] if ended and outcome.tokens[-1] in stops else outcome.tokens
    try:
        for token in tokens:
            matcher.accept(token)
    except ConstraintError as error:
        return replace(outcome, end=None, failure=str(error), by_constraint=True)
    if not ended and outcome.failure is None and matcher.ended:
        return replace(outcome, end=EndReason.COMPLETE)
    return outcome
