"""What a request does to the logits of one of its choices: penalties, bias, and tokens that may not come."""

from collections.abc import Collection, Sequence

import numpy as np
from numpy.typing import NDArray

from inferloom_worker.engine.constraint import Mask
from inferloom_worker.engine.request import GenerationRequest
from inferloom_worker.stepping.penalties import Penalties


class Adjustment:
    """One choice's, prepared for the many steps that it has.

    Args:
        request: What is asked for; it changes logits.
        tokens: The choice's tokens, prompt first. The list may grow, and never changes otherwise.
    """

    def __init__(self, request: GenerationRequest, tokens: Sequence[int]) -> None:
        sampling, limits = request.sampling, request.limits
        self._tokens = tokens
        self._prompt = len(request.prompt)
        self._limits = limits
        self._least = request.min_tokens
        self._stops = _ids(request.stop_token_ids)
        self._never = _ids(() if limits is None else limits.never)
        self.penalties: Penalties | None = None
        """None: there are none."""
        if sampling.repetition_penalty != 1.0 or sampling.presence_penalty or sampling.frequency_penalty:
            self.penalties = Penalties(sampling, tokens, self._prompt, request.distinct)
        self.biased: tuple[NDArray[np.int64], NDArray[np.float32]] | None = None
        """Tokens with a bias, and what is added to their logits."""
        if bias := sampling.logit_bias:
            self.biased = _ids(bias), np.fromiter(bias.values(), np.float32, len(bias))

    @classmethod
    def of(cls, request: GenerationRequest, tokens: Sequence[int]) -> "Adjustment | None":
        """That of a request; None where it leaves logits as they are."""
        return cls(request, tokens) if request.adjusts else None

    def barred(self, draft: tuple[int, ...], vocab_size: int) -> NDArray[np.int64] | None:
        """The tokens that may not come after the choice's and those of ``draft``. None: it bars none."""
        found, limits = self._never, self._limits
        if self._least and len(self._tokens) - self._prompt + len(draft) < self._least:
            found = np.concatenate((found, self._stops[self._stops < vocab_size]))
        if limits is not None and limits.longest:
            start = max(self._prompt, len(self._tokens) + len(draft) - limits.longest)
            if ends := limits.ends([*self._tokens[start:], *draft]):
                found = np.concatenate((found, _ids(ends)))
        return found if len(found) else None

    def allowed(self, vocab_size: int) -> Mask | None:
        """The tokens that may come at any place; one array for all choices of a request. None: all."""
        return None if self._limits is None else self._limits.mask(vocab_size)


def _ids(tokens: Collection[int]) -> NDArray[np.int64]:
    return np.fromiter(tokens, np.int64, len(tokens))
