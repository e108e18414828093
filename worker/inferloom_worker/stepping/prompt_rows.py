"""Where the chunks of prompts in a step lie, as tensors."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, Self

import torch
from torch import Tensor

PROMPT_TILE = 64
"""Rows that are computed together, of one chunk; the last of a chunk may be fewer."""


class Chunk(Protocol):
    """Consecutive rows of one sequence; see :class:`~inferloom_worker.stepping.batch.Span`."""

    @property
    def start(self) -> int: ...
    @property
    def count(self) -> int: ...
    @property
    def context(self) -> int: ...
    @property
    def blocks(self) -> list[int]: ...


@dataclass(frozen=True, slots=True)
class PromptRows:
    """The P chunks of a step, all int64."""

    tables: Tensor
    """The blocks of their sequences [P, most], padded with block 0."""
    spans: Tensor
    """First row, rows, and tokens of context with the chunk's own [P, 3]."""
    tiles: Tensor
    """Of each tile, its chunk and its first row in it [tiles, 2]."""

    @classmethod
    def of(cls, chunks: Sequence[Chunk], device: torch.device) -> Self:
        """Lay out chunks, in one copy to the device."""
        width = max(len(chunk.blocks) for chunk in chunks)
        tiles = [
            place
            for index, chunk in enumerate(chunks)
            for row in range(0, chunk.count, PROMPT_TILE)
            for place in (index, row)
        ]
        spans = [value for chunk in chunks for value in (chunk.start, chunk.count, chunk.context)]
        table = [b for chunk in chunks for b in (*chunk.blocks, *[0] * (width - len(chunk.blocks)))]
        parts = torch.tensor([*table, *spans, *tiles], dtype=torch.int64).to(device)
        tables, rows, tiled = parts.split((len(table), len(spans), len(tiles)))
        return cls(tables.view(-1, width), rows.view(-1, 3), tiled.view(-1, 2))
