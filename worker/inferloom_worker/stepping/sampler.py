"""Choosing the next token of every sampling row at once.

Order of operations, as in transformers' generate: penalties and bias on the logits; temperature; top-k;
top-p; min-p; then one draw by inverse transform. Where a mask says which tokens are allowed, the others are
out before the temperature. A row's result depends on its own logits, mask and settings only, never on what
else is in the batch. Choosing is a total function: a logit that is not finite is never chosen, and a row
without a finite one that is allowed has no token.
"""

from collections.abc import Sequence
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from inferloom_mesh.light_dataclasses import dataclass
from inferloom_worker.engine.constraint import Mask
from inferloom_worker.engine.protocol import LEAST_TEMPERATURE, Sampling, TokenLogprobs
from inferloom_worker.stepping.adjusting import adjust
from inferloom_worker.stepping.philox import uniforms
from inferloom_worker.stepping.row import Row

LEAST_LOGPROB = -9999.0
"""What is reported for a token that cannot come, as in OpenAI's API: JSON has no infinity."""
_CANDIDATES = 256
"""Tokens that are sorted before it is known whether a nucleus needs more."""


NO_TOKEN = -1
"""What is chosen from logits of which none is finite and allowed."""

Masks = Sequence[Mask | None]
"""The allowed tokens of each row; None: all."""


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
    plain = _finite(logits[wanted]).log_softmax(-1) if wanted else None
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
        some = logits if len(drawn) == len(rows) else logits[drawn]
        allowed = None if masks is None else [masks[i] for i in drawn]
        tokens = chooser.draw(some, settings, numbers, allowed)
        for index, token in zip(drawn, tokens, strict=True):
            chosen[index] = token
    logprobs: list[TokenLogprobs | None] = [None] * len(rows)
    if plain is not None:
        for place, index in enumerate(wanted):
            if chosen[index] == NO_TOKEN:
                continue
            logprobs[index] = _report(plain[place], chosen[index], requests[index].top_logprobs or 0)
    return list(map(SampledToken, chosen, logprobs))


class TorchChooser:
    """The :class:`Chooser` in torch, on any device."""

    def argmax(self, logits: Tensor, masks: Masks | None = None) -> list[int]:
        return _best(_allowed(_finite(logits), masks)).tolist()

    def draw(
        self,
        logits: Tensor,
        settings: list[Sampling],
        uniforms: NDArray[np.float64],
        masks: Masks | None = None,
    ) -> list[int]:
        table = _table(settings, uniforms, logits.shape[-1]).to(logits.device)  # in one copy
        finite = _allowed(_finite(logits), masks)
        best = _best(finite)
        # The largest is taken off first, so that no quotient is larger than 0. A banned token stays banned at
        # any temperature, an infinite one included.
        largest = finite.amax(-1, keepdim=True)
        scaled = torch.where(finite > -torch.inf, (finite - largest) / table[:, :1].float(), -torch.inf)
        logits = scaled.nan_to_num(nan=-torch.inf, neginf=-torch.inf)
        logits.masked_fill_(best[:, None] < 0, 0.0)  # drawn with the others, and not used
        filtered = [s.top_p < 1.0 or s.top_k > 0 or s.min_p > 0.0 for s in settings]
        if all(filtered):
            tokens = _draw_filtered(logits, table)
        elif not any(filtered):
            tokens = _draw_free(logits, table)
        else:
            tokens = torch.empty_like(best)
            for draw, rows in (
                (_draw_filtered, [i for i, is_filtered in enumerate(filtered) if is_filtered]),
                (_draw_free, [i for i, is_filtered in enumerate(filtered) if not is_filtered]),
            ):
                tokens[rows] = draw(logits[rows], table[rows])
        return torch.where((table[:, 5] > 0) | (best < 0), best, tokens).tolist()


def _table(settings: list[Sampling], uniforms: NDArray[np.float64], vocabulary: int) -> Tensor:
    """Of each row temperature, top-k, top-p, min-p, the number to draw with, whether it is greedy: float64
    [R, 6]."""
    table = np.empty((len(settings), 6))
    table[:, 0] = [each.temperature if each.temperature >= LEAST_TEMPERATURE else 1.0 for each in settings]
    table[:, 1] = [each.top_k or vocabulary for each in settings]
    table[:, 2] = [each.top_p for each in settings]
    table[:, 3] = [each.min_p for each in settings]
    table[:, 4] = uniforms
    table[:, 5] = [each.greedy for each in settings]
    return torch.from_numpy(table)


def _finite(logits: Tensor) -> Tensor:
    """The logits with minus infinity in place of what is no finite number."""
    return logits.masked_fill(~logits.isfinite(), -torch.inf)


def _allowed(finite: Tensor, masks: Masks | None) -> Tensor:
    """The logits [R, vocab_size] with minus infinity in place of what a mask does not have; in place."""
    for row, mask in enumerate(masks or ()):
        if mask is not None:
            bits = np.unpackbits(mask.view(np.uint8), bitorder="little", count=finite.shape[1])
            finite[row].masked_fill_(torch.from_numpy(bits == 0).to(finite.device), -torch.inf)
    return finite


def _best(finite: Tensor) -> Tensor:
    """The first place of each row's largest logit, int64 [R]; NO_TOKEN where all are minus infinity."""
    largest, places = finite.max(-1)
    return places.masked_fill(largest == -torch.inf, NO_TOKEN)


def _draw_free(logits: Tensor, table: Tensor) -> Tensor:
    """Draw from all tokens, int64 [R]."""
    return _invert(logits.softmax(-1), table[:, 4:5])


def _draw_filtered(logits: Tensor, table: Tensor) -> Tensor:
    """Draw from the tokens that pass each row's filters, int64 [R]."""
    top_k, top_p, min_p = table[:, 1:2].long(), table[:, 2:3].float(), table[:, 3:4].float()
    u = table[:, 4:5]
    vocab = logits.shape[-1]
    count = min(vocab, _CANDIDATES)
    values, order = logits.topk(count)
    kept = _kept(values, logits, top_k, top_p, min_p)
    # If even the last candidate passes, others might; and a k beyond the candidates needs its whole total.
    # Such rows are rare, and are sorted in full.
    short = (top_k[:, 0] > count) & (kept[:, -1] | (top_k[:, 0] < vocab))
    picked = _invert(values.softmax(-1) * kept, u)
    tokens = order.gather(1, picked[:, None])[:, 0]
    if bool(short.any()):
        values, order = logits[short].sort(descending=True)
        kept = _kept(values, logits[short], top_k[short], top_p[short], min_p[short])
        picked = _invert(values.softmax(-1) * kept, u[short])
        tokens[short] = order.gather(1, picked[:, None])[:, 0]
    return tokens


def _kept(values: Tensor, logits: Tensor, top_k: Tensor, top_p: Tensor, min_p: Tensor) -> Tensor:
    """Which of the sorted candidates ``values`` [R, C] pass the filters; the first always does."""
    rank = torch.arange(values.shape[1], device=values.device)
    within_k = rank < top_k
    # Probabilities after top-k: the total is over the k best, or over everything where k is no limit.
    total = torch.where(
        top_k < logits.shape[-1],
        values.masked_fill(~within_k, -torch.inf).logsumexp(-1, keepdim=True),
        logits.logsumexp(-1, keepdim=True),
    )
    probabilities = (values - total).exp()
    before = probabilities.cumsum(-1) - probabilities
    likely = probabilities >= min_p * probabilities[:, :1]
    kept = within_k & (before < top_p) & likely
    kept[:, 0] = True
    return kept


def _invert(weights: Tensor, u: Tensor) -> Tensor:
    """Inverse transform: the first places [R] where cumulated weights [R, C] exceed u [R, 1] of their sum."""
    cumulated = weights.double().cumsum(-1)
    total = cumulated[:, -1:].contiguous()
    found = torch.searchsorted(cumulated, u * total, right=True)
    # u times the total may be rounded to the total; then it is the last place that weighs anything.
    return torch.minimum(found, torch.searchsorted(cumulated, total))[:, 0]


def _report(logprobs: Tensor, token: int, count: int) -> TokenLogprobs:
    values, tokens = logprobs.topk(count)
    # A banned token's is minus infinity, which JSON has no word for; OpenAI's own least value stands for it.
    values = values.clamp(min=LEAST_LOGPROB)
    own = max(float(logprobs[token]), LEAST_LOGPROB)
    rank = int((logprobs > logprobs[token]).sum()) + 1
    return TokenLogprobs(own, tuple(zip(tokens.tolist(), values.tolist(), strict=True)), rank)
