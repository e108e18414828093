"""Penalties, bias and barred tokens of all rows of a step at once.

What changes is gathered into lists of places in the logits, laid out flat, so that the number of operations
on them depends neither on the number of rows nor on the vocabulary. On a GPU each list is copied from memory
that is not pinned, which waits until what was started before is done.
"""

import sys
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from inferloom_worker.engine.constraint import Mask
from inferloom_worker.stepping.penalties import Penalties
from inferloom_worker.stepping.row import Row

Masks = Sequence[Mask | None]
"""The allowed tokens of each row; None: all."""

_AT_ONCE = 2**16
"""Penalised logits that a CPU takes at once, which its caches hold while it computes. A GPU takes all."""


@np.errstate(all="ignore")  # of what is no number another token is chosen
def adjust(logits: Tensor, rows: Sequence[Row], masks: Masks | None = None) -> Masks | None:
    """Apply what requests do to logits, in place, but for the lists of tokens that they allow.

    Penalties come first, then bias, then what is barred.

    Args:
        logits: float32 [R, vocab_size]; each row contiguous.
        rows: The places that the logits are of.
        masks: What constraints allow.

    Returns:
        The masks, and in them what requests allow.

    Raises:
        IndexError: A token is outside of the vocabulary.
    """
    adjusted = [(at, row) for at, row in enumerate(rows) if row.sequence.adjustment is not None]
    if not adjusted:
        return masks
    places = _Places(logits)
    penalised, biased, barred = _Penalised(), _Part(), _Part()
    biases: list[NDArray[np.float32]] = []
    allowed: list[Mask | None] | None = None
    most = _AT_ONCE if logits.device.type == "cpu" else sys.maxsize
    for at, row in adjusted:
        own = row.sequence.adjustment
        assert own is not None
        if own.penalties is not None:
            penalised.put(at, own.penalties, row.draft)
            if penalised.length >= most:
                penalised.apply(places)
                penalised = _Penalised()
        if own.biased is not None:
            tokens, bias = own.biased
            biased.add(at, tokens, int(tokens.max()))
            biases.append(bias)
        if (ids := own.barred(row.draft, places.width)) is not None:
            barred.add(at, ids, int(ids.max()))
        if (mask := own.allowed(places.width)) is not None:
            if allowed is None:
                allowed = [None] * len(rows) if masks is None else list(masks)
            other = allowed[at]
            allowed[at] = mask if other is None else mask & other
    if penalised.length:
        penalised.apply(places)
    flat = places.flat
    if biases:
        flat.index_add_(0, places.of(biased), torch.from_numpy(np.concatenate(biases)).to(flat.device))
    if barred.length:
        flat.index_fill_(0, places.of(barred), -torch.inf)
    return masks if allowed is None else allowed


class _Part:
    """Tokens of some rows."""

    def __init__(self) -> None:
        self.rows: list[int] = []
        self.tokens: list[NDArray[np.int64]] = []
        self.length = 0
        self.greatest = -1

    def add(self, row: int, tokens: NDArray[np.int64], greatest: int) -> None:
        """Add a row's, of which none is beyond the ``greatest``."""
        self.rows.append(row)
        self.tokens.append(tokens)
        self.length += len(tokens)
        self.greatest = max(self.greatest, greatest)


class _Places:
    """Logits [R, width], laid out flat."""

    def __init__(self, logits: Tensor) -> None:
        rows, self.width = logits.shape
        assert logits.stride(1) == 1
        self._stride = logits.stride(0)
        self.flat = logits.as_strided(((rows - 1) * self._stride + self.width,), (1,))

    def of(self, part: _Part) -> Tensor:
        """Where the logits of a part are, int64."""
        if part.greatest >= self.width:  # it would be another row's logit
            raise IndexError("a token is outside of the vocabulary")
        found = np.empty(part.length, np.int64)
        start = 0
        for row, tokens in zip(part.rows, part.tokens, strict=True):
            end = start + len(tokens)
            np.add(tokens, row * self._stride, out=found[start:end])
            start = end
        return torch.from_numpy(found).to(self.flat.device)


class _Penalised(_Part):
    """Tokens that are penalised."""

    def __init__(self) -> None:
        super().__init__()
        self._factors: list[float] = []
        self._amounts: list[NDArray[np.float32]] = []
        self._repeats = self._subtracts = False

    def put(self, row: int, penalties: Penalties, draft: tuple[int, ...]) -> None:
        """Add those of a row."""
        tokens, amounts = penalties.after(draft)
        self.add(row, tokens, penalties.greatest)
        self._factors.append(penalties.repetition)
        self._amounts.append(amounts)
        self._repeats = self._repeats or penalties.repetition != 1.0
        self._subtracts = self._subtracts or penalties.subtracts

    def apply(self, places: _Places) -> None:
        """Change their logits."""
        flat, at = places.flat, places.of(self)
        values = flat.index_select(0, at)
        if self._repeats:
            lengths = [len(each) for each in self.tokens]
            factor = torch.from_numpy(np.repeat(np.array(self._factors, np.float32), lengths))
            factor = factor.to(flat.device)
            # One of the summands is 0. On a CPU choosing between two takes several times as long.
            values = values.clamp(min=0.0).div_(factor).add_(values.clamp_(max=0.0).mul_(factor))
        if self._subtracts:
            values -= torch.from_numpy(np.concatenate(self._amounts)).to(flat.device)
        flat.scatter_(0, at, values)
