"""What a step yields for one sequence."""

from collections.abc import Sequence
from dataclasses import dataclass

from inferloom_worker.engine.protocol import EndReason, TokenLogprobs
from inferloom_worker.stepping.sampler import NO_TOKEN, SampledToken
from inferloom_worker.stepping.scheduler import Work


@dataclass(frozen=True, slots=True)
class Outcome:
    """Tokens that are certain now, with their log-probabilities where these are wanted. The draft foresaw
    the first ``accepted`` of them; ``rejected`` tokens of it are not among them."""

    tokens: list[int]
    logprobs: list[TokenLogprobs]
    accepted: int
    rejected: int
    end: EndReason | None
    lost: bool = False
    """Whether the model computed no finite numbers for the place after the tokens, so there is none."""


def verify(work: Work, sampled: Sequence[SampledToken]) -> Outcome:
    """Decide what a work yields.

    ``sampled`` [1 + draft] are the tokens chosen after the sequence's own and after each token of the draft.
    One counts while the draft before it is what was chosen: then it is the very token that a step without
    drafts would have chosen, because draws depend on nothing but their place. Empty for a part of a prompt.
    """
    request, generated = work.sequence.request, work.sequence.generated
    tokens: list[int] = []
    logprobs: list[TokenLogprobs] = []
    end: EndReason | None = None
    accepted = 0
    for place, chosen in enumerate(sampled):
        if chosen.token == NO_TOKEN:
            return Outcome(tokens, logprobs, accepted, len(work.draft) - accepted, None, lost=True)
        tokens.append(chosen.token)
        if chosen.logprobs is not None:
            logprobs.append(chosen.logprobs)
        foreseen = place < len(work.draft) and work.draft[place] == chosen.token
        accepted += foreseen
        if chosen.token in request.stop_token_ids:
            end = EndReason.STOP_TOKEN
        elif generated + len(tokens) >= request.max_tokens:
            end = EndReason.LENGTH
        if end is not None or not foreseen:
            break
    return Outcome(tokens, logprobs, accepted, len(work.draft) - accepted, end)
