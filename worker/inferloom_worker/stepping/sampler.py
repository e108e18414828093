"""Choosing the next token of every sampling row at once.

Order of operations, as in transformers' generate: penalties and bias on the logits; temperature; top-k;
top-p; min-p; then one draw by inverse transform. Where a mask says which tokens are allowed, the others are
out before the temperature. A row's result depends on its own logits, mask and settings only, never on what
else is in the batch. Choosing is a total function: a logit that is not finite is never chosen, and a row
without a finite one that is allowed has no token.
"""

from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from inferloom_mesh.light_dataclasses import dataclass
from inferloom_worker.engine.events import TokenLogprobs
from inferloom_worker.engine.sampling import Sampling
from inferloom_worker.stepping.adjusting import Masks, adjust
from inferloom_worker.stepping.drawing import NO_TOKEN, draw
from inferloom_worker.stepping.logprobs import report
from inferloom_worker.stepping.mask_bits import barred_by
from inferloom_worker.stepping.philox import uniforms
from inferloom_worker.stepping.row import Row


@dataclass(frozen=True, slots=True)
class SampledToken:
    """A chosen token or :data:`NO_TOKEN`, and log-probabilities where its request wants them."""

    token: int
    logprobs: TokenLogprobs | None


class Chooser(Protocol):
    """The two ways of choosing a token, over all rows at once."""

    def argmax(self, logits: Tensor, masks: Masks | None = None) -> list[int]:
        """The first place of each row's largest finite value that is allowed, for logits [R, vocab_size];
        NO_TOKEN where there is none."""
        ...

    def draw(
        self,
        logits: Tensor,
        settings: list[Sampling],
        uniforms: NDArray[np.float64],
        masks: Masks | None = None,
    ) -> list[int]:
        """Filter each row of logits [R, vocab_size] by its settings, and draw with its number in [0, 1) from
        its finite ones that are allowed; NO_TOKEN where there is none. Below LEAST_TEMPERATURE, as argmax."""
        ...


def sample(
    logits: Tensor, rows: list[Row], chooser: Chooser, masks: Masks | None = None
) -> list[SampledToken]:
    """Choose a token for each row.

    Args:
        logits: float32 [R, vocab_size]; changed in place.
        rows: The places that the logits are of.
        chooser: What chooses; a model may have a faster one than torch.
        masks: What constraints allow at these places. None: everything.
    """
    requests = [row.sequence.request for row in rows]
    wanted = [i for i, request in enumerate(requests) if request.top_logprobs is not None]
    plain = _finite(_some(logits, wanted)).log_softmax(-1) if wanted else None
    masks = adjust(logits, rows, masks)
    drawn = [i for i, request in enumerate(requests) if not request.sampling.greedy]
    chosen = chooser.argmax(logits, masks) if len(drawn) < len(rows) else [0] * len(rows)
    if drawn:
        settings = [requests[i].sampling for i in drawn]
        numbers = uniforms(
            [setting.seed for setting in settings],
            [rows[i].sequence.choice for i in drawn],
            [rows[i].generated for i in drawn],
        )
        allowed = None if masks is None else [masks[i] for i in drawn]
        tokens = chooser.draw(_some(logits, drawn), settings, numbers, allowed)
        for index, token in zip(drawn, tokens, strict=True):
            chosen[index] = token
    if plain is None:
        return [SampledToken(token, None) for token in chosen]
    counts = [requests[i].top_logprobs or 0 for i in wanted]
    told = dict(zip(wanted, _told(plain, [chosen[i] for i in wanted], counts), strict=True))
    return [SampledToken(token, told.get(index)) for index, token in enumerate(chosen)]


def _some(logits: Tensor, rows: list[int]) -> Tensor:
    """Rows of the logits, in order."""
    if len(rows) == len(logits):
        return logits
    return logits.index_select(0, torch.tensor(rows).to(logits.device))


def _told(plain: Tensor, chosen: list[int], counts: list[int]) -> list[TokenLogprobs | None]:
    """The report of each row; None where no token was chosen."""
    told: list[TokenLogprobs | None] = [None] * len(chosen)
    for count in set(counts):
        rows = [at for at, token in enumerate(chosen) if counts[at] == count and token != NO_TOKEN]
        if rows:
            reports = report(_some(plain, rows), [chosen[at] for at in rows], count)
            for at, each in zip(rows, reports, strict=True):
                told[at] = each
    return told


class TorchChooser:
    """The :class:`Chooser` in torch, on any device."""

    def argmax(self, logits: Tensor, masks: Masks | None = None) -> list[int]:
        largest, places = _allowed(_finite(logits), masks).max(-1)
        found: list[int] = places.masked_fill_(largest == -torch.inf, NO_TOKEN).tolist()
        return found

    def draw(
        self,
        logits: Tensor,
        settings: list[Sampling],
        uniforms: NDArray[np.float64],
        masks: Masks | None = None,
    ) -> list[int]:
        return draw(_allowed(_finite(logits), masks), settings, uniforms)


def _finite(logits: Tensor) -> Tensor:
    """The logits with minus infinity in place of what is no finite number."""
    return logits.nan_to_num(nan=-torch.inf, posinf=-torch.inf, neginf=-torch.inf)


def _allowed(finite: Tensor, masks: Masks | None) -> Tensor:
    """The logits [R, vocab_size] with minus infinity in place of what a mask does not have; in place."""
    given = [mask for mask in masks or () if mask is not None]
    if masks is None or not given:
        return finite
    barred = barred_by(np.stack(given), finite.shape[1], finite.device)
    if len(given) == len(masks):
        return finite.masked_fill_(barred, -torch.inf)
    rows = torch.tensor([row for row, mask in enumerate(masks) if mask is not None]).to(finite.device)
    return finite.index_copy_(0, rows, finite.index_select(0, rows).masked_fill_(barred, -torch.inf))
