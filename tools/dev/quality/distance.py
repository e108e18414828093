"""How far a next-token distribution is from the one that it should be. Pure."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

Logs = NDArray[np.float32]
"""Natural logarithms of probabilities, [places, vocabulary]."""

_DEPTH = 16.0
_STEPS = 65535


@dataclass(frozen=True, slots=True)
class Distance:
    """Over all places of a text."""

    places: int
    kl: float
    """Mean Kullback-Leibler divergence from the reference, in nats: Σ p · (log p - log q)."""
    worst: float
    """Greatest difference of two log-probabilities, of tokens that are not out of the question in either."""
    agreement: float
    """Share of places where the most probable token is the reference's."""

    @classmethod
    def of(cls, pairs: Iterable[tuple[Logs, Logs]]) -> Self:
        """Compare pairs of a reference and what stands for it in :func:`coarse` form, window by window."""
        divergences, agreements, worst = [], [], 0.0
        for reference, other in pairs:
            gap = coarse(reference) - other
            divergences.append((np.exp(reference) * gap).sum(-1, dtype=np.float64))
            agreements.append(reference.argmax(-1) == other.argmax(-1))
            worst = max(worst, float(np.abs(gap).max()))
        every = np.concatenate(divergences)
        return cls(len(every), float(every.mean()), worst, float(np.concatenate(agreements).mean()))


def log_softmax(logits: NDArray[np.float32]) -> Logs:
    """The log-probabilities of logits."""
    shifted: Logs = logits - logits.max(-1, keepdims=True)
    logs: Logs = shifted - np.log(np.exp(shifted).sum(-1, keepdims=True))
    return logs


def coarse(logs: Logs) -> Logs:
    """What llama-perplexity's file would keep of them: 65,536 steps over the 16 nats below the greatest.

    Everything is compared in this form, so that no side gains or loses by it.
    """
    top = logs.max(-1, keepdims=True)
    low = np.maximum(logs.min(-1, keepdims=True), top - _DEPTH)
    step = (top - low) / _STEPS
    steps = np.rint((np.maximum(logs, low) - low) / np.where(step > 0, step, 1))
    kept: Logs = (steps * step + low).astype(np.float32)
    return kept
