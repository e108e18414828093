"""A decoding step whose tensors stay where they are while their values change."""

from collections.abc import Sequence

import torch
from torch import Tensor

from inferloom_worker.engine.protocol import Adapter
from inferloom_worker.stepping.batch import Span, StepBatch
from inferloom_worker.stepping.blocks import BLOCK_TOKENS


class StaticStep:
    """A :class:`~inferloom_worker.stepping.batch.StepTensors` of ``rows`` decoding rows with ``blocks``
    blocks of context each. It is filled with steps that have no more of either.

    All of it is one tensor on the device, so that a step takes one copy. Rows that a step does not fill are
    padding: they compute a first token whose state goes to the block ``scratch``, which nobody reads.
    """

    spans: Sequence[Span] = ()
    adapted: Sequence[tuple[Adapter, Tensor]] = ()

    def __init__(self, rows: int, blocks: int, *, scratch: int, device: torch.device) -> None:
        self.decodes = rows
        self._blocks = blocks
        self._scratch = scratch
        pinned = device.type == "cuda"
        self._host = torch.empty(rows * (4 + blocks), dtype=torch.int64, pin_memory=pinned)
        self._all = torch.empty_like(self._host, device=device)
        columns = self._all[: 4 * rows].view(4, rows)
        self.token_tensor, self.position_tensor, self.slots, self.decode_contexts = columns.unbind()
        self.decode_blocks: Tensor = self._all[4 * rows :].view(rows, blocks)
        self.sample_tensor = torch.arange(rows, device=device)
        self._write([], [], [], [])

    def fill(self, batch: StepBatch) -> None:
        """Take a step's values; it has only decoding rows."""
        slots = [
            span.blocks[place // BLOCK_TOKENS] * BLOCK_TOKENS + place % BLOCK_TOKENS
            for span, place in zip(batch.spans, batch.positions, strict=True)
        ]
        self._write(batch.tokens, batch.positions, slots, batch.spans)

    def _write(
        self, tokens: list[int], positions: list[int], slots: list[int], spans: Sequence[Span]
    ) -> None:
        spare = self.decodes - len(spans)
        values = [*tokens, *[0] * spare, *positions, *[0] * spare]
        values += [*slots, *[self._scratch * BLOCK_TOKENS] * spare]
        values += [*(span.context for span in spans), *[1] * spare]
        for span in spans:
            values += [*span.blocks, *[self._scratch] * (self._blocks - len(span.blocks))]
        values += [self._scratch] * (self._blocks * spare)
        # The last copy out of it is over: its step's tokens have been read since.
        self._host.copy_(torch.tensor(values, dtype=torch.int64))
        self._all.copy_(self._host, non_blocking=True)
