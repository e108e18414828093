"""One engine step as tensors: which tokens at which places of which sequences."""

from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor

from inferloom_worker.engine.blocks import BLOCK_TOKENS
from inferloom_worker.engine.scheduler import Work


@dataclass(frozen=True, slots=True)
class Span:
    """Rows ``start … start + count - 1`` of a step belong to one sequence, whose state reaches ``context``
    tokens once the step is done and lives in ``blocks``."""

    start: int
    count: int
    context: int
    blocks: list[int]


@dataclass(frozen=True, slots=True)
class StepBatch:
    """The T tokens of one step, packed without padding, in order of their spans.

    Spans of one row (decoding) come first: they are rows ``0 … decodes - 1``.
    """

    tokens: Tensor
    """Token ids, int64 [T]."""
    positions: Tensor
    """Places in their sequences, int64 [T]."""
    slots: Tensor
    """Where each token's state goes: block · BLOCK_TOKENS + offset, int64 [T]."""
    spans: list[Span]
    decodes: int
    decode_blocks: Tensor
    """Block table of the decoding spans, padded with block 0, int64 [decodes, most blocks]."""
    decode_contexts: Tensor
    """Context length of each decoding span, int64 [decodes]."""
    sample_rows: Tensor
    """Rows whose logits are wanted, int64 [R], in order of their spans."""

    @classmethod
    def pack(cls, step: list[Work], device: torch.device) -> Self:
        """Lay out a scheduled step, given with its one-token works in front (:func:`decoding_first`)."""
        tokens: list[int] = []
        positions: list[int] = []
        slots: list[int] = []
        spans: list[Span] = []
        sample_rows: list[int] = []
        for work in step:
            sequence, start = work.sequence, work.sequence.computed
            places = range(start, start + work.count)
            spans.append(Span(len(tokens), work.count, places.stop, sequence.blocks))
            tokens.extend(sequence.tokens[start : places.stop])
            positions.extend(places)
            blocks = sequence.blocks
            slots.extend(blocks[p // BLOCK_TOKENS] * BLOCK_TOKENS + p % BLOCK_TOKENS for p in places)
            if work.samples:
                sample_rows.append(len(tokens) - 1)
        decodes = next((i for i, span in enumerate(spans) if span.count > 1), len(spans))
        width = max((len(span.blocks) for span in spans[:decodes]), default=0)
        table = [span.blocks + [0] * (width - len(span.blocks)) for span in spans[:decodes]]

        def ints(values: object) -> Tensor:
            return torch.tensor(values, dtype=torch.int64, device=device)

        return cls(
            tokens=ints(tokens),
            positions=ints(positions),
            slots=ints(slots),
            spans=spans,
            decodes=decodes,
            decode_blocks=ints(table).reshape(decodes, width),
            decode_contexts=ints([span.context for span in spans[:decodes]]),
            sample_rows=ints(sample_rows),
        )


def decoding_first(step: list[Work]) -> list[Work]:
    """The step with its one-token works in front, otherwise in order."""
    return sorted(step, key=lambda work: work.count > 1)
