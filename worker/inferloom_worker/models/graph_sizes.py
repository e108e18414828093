"""Which steps are recorded as graphs. Pure."""

from bisect import bisect_left
from collections.abc import Iterator
from dataclasses import dataclass

from inferloom_worker.stepping.batch import StepBatch
from inferloom_worker.stepping.blocks import blocks_for

LEAST_BLOCKS = 32
"""Blocks of context in the smallest graphs; each next size has four times as many."""

_READS = (64, 128, 256, 384, 512)
"""Rows of prompts in a graph. More keep a GPU busy for longer than its host takes to start its kernels."""

_CHUNKS = 32
"""Chunks of prompts, or tokens with their drafts, in a graph."""

_SAMPLES = 64
"""Their rows with logits: one of each prompt that is read to its end, and all of drafts."""


@dataclass(frozen=True, slots=True, order=True)
class StepSize:
    """A step that a graph computes, and any smaller one with it."""

    reads: int
    """Rows of prompts."""
    rows: int
    """Rows that decode."""
    blocks: int
    """Blocks of each sequence."""

    @property
    def chunks(self) -> int:
        """Sequences that the rows of prompts, or of drafts, are of."""
        return _CHUNKS if self.reads else 0

    @property
    def samples(self) -> int:
        """Rows that have logits."""
        return self.rows + (_SAMPLES if self.reads else 0)


class GraphSizes:
    """The sizes that graphs are recorded in.

    Args:
        max_rows: Decoding sequences in one step at most.
        max_reads: Rows of prompts in one step at most. 0: no step with prompts is recorded.
        max_context: Tokens of one sequence at most.
    """

    def __init__(self, *, max_rows: int, max_reads: int, max_context: int) -> None:
        self._rows = row_sizes(max_rows)
        self._beside = [0, *(size for size in (16, 64) if size < max_rows), max_rows]
        self._reads = [size for size in _READS if size <= max_reads]
        self._blocks = block_sizes(blocks_for(max_context))

    @property
    def samples(self) -> int:
        """Rows that have logits in one step at most."""
        return max(size.samples for size in self)

    def fit(self, batch: StepBatch) -> StepSize | None:
        """The least size that a step fits into. None: there is none for it."""
        decodes = batch.decodes
        chunks = batch.spans[decodes:]
        reads = len(batch.tokens) - decodes
        blocks = max([len(span.blocks) for span in batch.spans])
        rows = self._beside if chunks else self._rows
        if batch.adapted or decodes > rows[-1] or blocks > self._blocks[-1]:
            return None
        if chunks and (not self._reads or reads > self._reads[-1]):
            return None
        size = StepSize(
            _next(self._reads, reads) if chunks else 0, _next(rows, decodes), _next(self._blocks, blocks)
        )
        fits = len(chunks) <= size.chunks and len(batch.sample_rows) <= size.samples
        return size if fits else None

    def __iter__(self) -> Iterator[StepSize]:
        """Every size, the largest first: memory that one has taken serves those after it."""
        sizes = [StepSize(0, rows, blocks) for rows in self._rows for blocks in self._blocks]
        sizes += [
            StepSize(reads, rows, blocks)
            for reads in self._reads
            for rows in self._beside
            for blocks in self._blocks
        ]
        return iter(sorted(sizes, reverse=True))


def row_sizes(most: int) -> list[int]:
    """Rows that decode, rising: close together where a row of padding is much of a step."""
    sizes = [size for size in (1, 2, 4, 8, 16, 24, 32, 48, 64, 96, 128, 192) if size < most]
    return [*sizes, *range(256, most, 128), most]


def block_sizes(most: int) -> list[int]:
    """Blocks of context, rising. What a sequence does not fill is skipped, not read."""
    sizes: list[int] = []
    size = LEAST_BLOCKS
    while size < most:
        sizes.append(size)
        size *= 4
    return [*sizes, most]


def _next(sizes: list[int], wanted: int) -> int:
    return sizes[bisect_left(sizes, wanted)]
