"""A step whose tensors stay where they are while their values change."""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from inferloom_worker.engine.adapter import Adapter
from inferloom_worker.models.graph_sizes import StepSize
from inferloom_worker.stepping.batch import Span, StepBatch
from inferloom_worker.stepping.blocks import BLOCK_TOKENS
from inferloom_worker.stepping.prompt_rows import PROMPT_TILE, PromptRows

Ints = NDArray[np.int64]


class StaticStep:
    """A :class:`~inferloom_worker.stepping.batch.StepTensors` of a size. It is filled with steps that have no
    more of anything.

    All of it is one tensor on the device, so that a step takes one copy. Rows that a step does not fill are
    padding: decoding ones compute a first token, whose state goes to the block ``scratch``, which nobody
    reads; those of prompts belong to no chunk.
    """

    spans: Sequence[Span] = ()
    adapted: Sequence[tuple[Adapter, Tensor]] = ()

    def __init__(self, size: StepSize, *, scratch: int, device: torch.device) -> None:
        self._size = size
        self._scratch = scratch
        tokens, chunks = size.rows + size.reads, size.chunks + 1 if size.reads else 0
        tiles = size.reads // PROMPT_TILE + size.chunks
        shapes = {
            "tokens": (3, tokens),
            "contexts": (size.rows,),
            "tables": (size.rows + chunks, size.blocks),
            "spans": (chunks, 3),
            "tiles": (tiles if size.reads else 0, 2),
            "samples": (size.samples,),
        }
        count = sum(int(np.prod(shape)) for shape in shapes.values())
        self._host = torch.zeros(count, dtype=torch.int64, pin_memory=device.type == "cuda")
        self._all = torch.empty_like(self._host, device=device)
        on_device = _parts(self._all, shapes)
        self.token_tensor, self.position_tensor, self.slots = on_device["tokens"].unbind()
        self.sample_tensor = on_device["samples"]
        self.decodes = size.rows
        self.decode_contexts = on_device["contexts"]
        self.decode_blocks = on_device["tables"][: size.rows]
        self.prompts: PromptRows | None = None
        if size.reads:
            table = on_device["tables"][size.rows :]
            self.prompts = PromptRows(table, on_device["spans"], on_device["tiles"])
        self._parts: dict[str, Ints] = {
            name: part.numpy() for name, part in _parts(self._host, shapes).items()
        }
        self._parts["tables"].fill(scratch)
        self._blocks: list[list[int]] = [[] for _ in range(size.rows + chunks)]
        """What each row of the tables holds."""
        self._copied = torch.cuda.Event() if device.type == "cuda" else None
        """The copy of what the host's side holds."""
        self._copy(StepBatch([], [], [], []))

    def fill(self, batch: StepBatch) -> None:
        """Take a step's values."""
        self._copy(batch)

    def _copy(self, batch: StepBatch) -> None:
        if self._copied is not None:
            self._copied.synchronize()  # a step that only reads may be under way while the next is laid out
        rows, decodes = self._size.rows, batch.decodes
        chunks = batch.spans[decodes:]
        held = self._blocks
        for row, span in enumerate(batch.spans[:decodes]):
            if held[row] != span.blocks:
                self._table(row, span.blocks)
        for row, span in enumerate(chunks, rows):
            self._table(row, span.blocks)
        for row in range(decodes, rows):
            if self._blocks[row]:
                self._table(row, [self._scratch])
                self._blocks[row] = []
        tokens, positions, slots = self._parts["tokens"]
        used = slice(rows, rows + len(batch.tokens) - decodes)
        for column, values in ((tokens, batch.tokens), (positions, batch.positions)):
            column[:decodes], column[used] = values[:decodes], values[decodes:]
            column[decodes:rows], column[used.stop :] = 0, 0
        contexts = self._parts["contexts"]
        contexts[:decodes], contexts[decodes:] = [span.context for span in batch.spans[:decodes]], 1
        owners = np.full(len(tokens), rows)
        owners[:rows] = np.arange(rows)
        for row, span in enumerate(chunks, rows):
            owners[rows + span.start - decodes :][: span.count] = row
        slots[:] = self._parts["tables"][owners, positions // BLOCK_TOKENS] * BLOCK_TOKENS
        slots += positions % BLOCK_TOKENS
        slots[used.stop :] = self._scratch * BLOCK_TOKENS
        if self._size.reads:
            self._lay_out(chunks, decodes)
        samples = np.array(batch.sample_rows, dtype=np.int64)
        self._parts["samples"][len(samples) :] = 0
        self._parts["samples"][: len(samples)] = np.where(
            samples < decodes, samples, samples - decodes + rows
        )
        self._all.copy_(self._host, non_blocking=True)
        if self._copied is not None:
            self._copied.record()

    def _lay_out(self, chunks: Sequence[Span], decodes: int) -> None:
        """Say which rows are of which chunk; the last chunk of the size has none, and all spare tiles."""
        spans, tiles = self._parts["spans"], self._parts["tiles"]
        spans.fill(0)
        tiles[:] = len(spans) - 1, 0
        first = 0
        for index, span in enumerate(chunks):
            spans[index] = self._size.rows + span.start - decodes, span.count, span.context
            offsets = np.arange(0, span.count, PROMPT_TILE)
            tiles[first : first + len(offsets), 0] = index
            tiles[first : first + len(offsets), 1] = offsets
            first += len(offsets)

    def _table(self, row: int, blocks: list[int]) -> None:
        # Most rows are those of the last step, whose sequences get a block only now and then.
        if self._blocks[row] != blocks:
            self._parts["tables"][row, : len(blocks)] = blocks
            self._blocks[row] = list(blocks)


def _parts(values: Tensor, shapes: dict[str, tuple[int, ...]]) -> dict[str, Tensor]:
    """A tensor [all] cut into parts of these shapes."""
    sizes = [int(np.prod(shape)) for shape in shapes.values()]
    pieces = zip(shapes.items(), values.split(sizes), strict=True)
    return {name: piece.view(shape) for (name, shape), piece in pieces}
