"""What a request needs of its tokens that vLLM cannot continue from committed ones: told to our processor.

vLLM counts what it has generated itself: for a request that goes on from tokens of another worker, its
penalties, random stream, barred words and grammar would begin anew. So requests with these are carried: the
processor (:mod:`.processor`) chooses their tokens by the rules of :mod:`inferloom_worker.stepping.sampler`,
from the first token on, and vLLM has nothing left but to take them. It travels as a plain dictionary in the
sampling parameters' ``extra_args``.
"""

from collections.abc import Container, Mapping
from dataclasses import asdict, dataclass
from itertools import count
from typing import Any

from inferloom_worker.engine.constraint import PortableConstraint
from inferloom_worker.engine.limits import TokenLimits
from inferloom_worker.engine.request import GenerationRequest
from inferloom_worker.engine.sampling import Sampling

KEY = "inferloom"
"""Its place in ``extra_args``."""


@dataclass(frozen=True, slots=True)
class Carried:
    """One choice that is carried."""

    request: GenerationRequest
    """The request, as far as choosing tokens depends on it: its prompt is all that vLLM reads."""
    choice: int
    committed: int
    """How many tokens at the end of the prompt are the choice's own."""
    constraint: PortableConstraint | None = None
    """What it must conform to, where vLLM does not see to it."""

    def told(self) -> dict[str, Any]:
        """As plain values, without the prompt, which the processor has."""
        request, limits = self.request, self.request.limits
        sampling = asdict(request.sampling)
        sampling["logit_bias"] = [[token, bias] for token, bias in request.sampling.logit_bias.items()]
        return {
            "sampling": sampling,
            "choice": self.choice,
            "committed": self.committed,
            "min_tokens": request.min_tokens,
            "stops": sorted(request.stop_token_ids),
            "allowed": None if limits is None or limits.allowed is None else limits.allowed.tolist(),
            "barred": [] if limits is None else [list(each) for each in limits.sequences],
            "constraint": None if self.constraint is None else asdict(self.constraint),
        }


def stand_in(stops: Container[int]) -> int:
    """The token that stands where none may come: it ends nothing. Who follows the choice outside finds that
    it may not come, and why."""
    return next(token for token in count() if token not in stops)


def read_carried(told: Mapping[str, Any], prompt: list[int]) -> Carried:
    """What :meth:`Carried.told` has told of a choice whose vLLM request has this prompt."""
    sampling = dict(told["sampling"])
    sampling["logit_bias"] = {int(token): float(bias) for token, bias in sampling["logit_bias"]}
    limits = None
    if told["allowed"] is not None or told["barred"]:
        limits = TokenLimits(told["allowed"], told["barred"])
    request = GenerationRequest(
        request_id="",
        prompt=prompt[: len(prompt) - told["committed"]],
        max_tokens=1,
        sampling=Sampling(**sampling),
        min_tokens=told["min_tokens"],
        stop_token_ids=frozenset(told["stops"]),
        limits=limits,
    )
    constraint = told["constraint"]
    if constraint is not None:
        constraint = PortableConstraint(
            constraint["grammar"], tuple(constraint["stops"]), constraint["ignores_ends"]
        )
    return Carried(request, told["choice"], told["committed"], constraint)
