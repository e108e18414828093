"""One engine step: which tokens at which places of which sequences."""

from collections.abc import Sequence
from dataclasses import field
from functools import cached_property
from typing import Protocol, Self

import torch
from torch import Tensor

from inferloom_mesh.light_dataclasses import dataclass
from inferloom_worker.engine.adapter import Adapter
from inferloom_worker.stepping.blocks import BLOCK_TOKENS
from inferloom_worker.stepping.prompt_rows import PromptRows
from inferloom_worker.stepping.work import Work


@dataclass(frozen=True, slots=True)
class Span:
    """Rows ``start … start + count - 1`` of a step belong to one sequence, whose state reaches ``context``
    tokens once the step is done and lives in ``blocks``. ``adapter`` changes what is computed for them."""

    start: int
    count: int
    context: int
    blocks: list[int]
    adapter: Adapter | None = None


class StepTensors(Protocol):
    """What models in torch read of a step; see :class:`StepBatch`."""

    @property
    def spans(self) -> Sequence[Span]:
        """The step's parts; decoding ones may be left out."""
        ...

    @property
    def adapted(self) -> Sequence[tuple[Adapter, Tensor]]:
        """The step's adapters, each with its rows, int64."""
        ...

    @property
    def decodes(self) -> int:
        """How many spans have one row."""
        ...

    @property
    def token_tensor(self) -> Tensor:
        """Token ids, int64 [T]."""
        ...

    @property
    def position_tensor(self) -> Tensor:
        """Places in their sequences, int64 [T]."""
        ...

    @property
    def sample_tensor(self) -> Tensor:
        """Rows whose logits are wanted, int64 [R]."""
        ...

    @property
    def slots(self) -> Tensor:
        """Where each token's state goes, int64 [T]."""
        ...

    @property
    def decode_blocks(self) -> Tensor:
        """Block table of the decoding spans, int64 [decodes, most blocks]."""
        ...

    @property
    def decode_contexts(self) -> Tensor:
        """Context length of each decoding span, int64 [decodes]."""
        ...

    @property
    def prompts(self) -> PromptRows | None:
        """The spans of more than one row, if there are any."""
        ...


@dataclass(frozen=True)
class StepBatch:
    """The T tokens of one step, packed without padding, in order of their spans.

    Spans of one row (decoding) come first: they are rows ``0 … decodes - 1``. The tensors are made when a
    model first asks for them.
    """

    tokens: list[int]
    """Token ids [T]."""
    positions: list[int]
    """Places in their sequences [T]."""
    spans: list[Span]
    sample_rows: list[int]
    """Rows whose logits are wanted [R], in order of their spans; of each first those that score a prompt."""
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))

    @classmethod
    def pack(cls, step: list[Work], device: torch.device) -> Self:
        """Lay out a scheduled step, given with its one-token works in front (:func:`decoding_first`)."""
        tokens: list[int] = []
        positions: list[int] = []
        spans: list[Span] = []
        sample_rows: list[int] = []
        for work in step:
            sequence, start = work.sequence, work.sequence.computed
            if work.count == 1 and not (work.draft or work.scores):
                row = len(tokens)
                spans.append(Span(row, 1, start + 1, sequence.blocks, sequence.request.adapter))
                tokens.append(sequence.tokens[start])
                positions.append(start)
                if work.samples:
                    sample_rows.append(row)
                continue
            places = range(start, start + work.rows)
            sample_rows.extend(len(tokens) + place - start for place in work.scores)
            spans.append(Span(len(tokens), work.rows, places.stop, sequence.blocks, sequence.request.adapter))
            tokens.extend(sequence.tokens[start : start + work.count])
            tokens.extend(work.draft)
            positions.extend(places)
            if work.samples:
                sample_rows.extend(range(len(tokens) - 1 - len(work.draft), len(tokens)))
        return cls(tokens, positions, spans, sample_rows, device)

    @cached_property
    def decodes(self) -> int:
        """How many spans have one row."""
        if len(self.tokens) == len(self.spans):
            return len(self.spans)
        return next(i for i, span in enumerate(self.spans) if span.count > 1)

    @cached_property
    def token_tensor(self) -> Tensor:
        """``tokens``, int64 [T]."""
        return self._ints(self.tokens)

    @cached_property
    def position_tensor(self) -> Tensor:
        """``positions``, int64 [T]."""
        return self._ints(self.positions)

    @cached_property
    def sample_tensor(self) -> Tensor:
        """``sample_rows``, int64 [R]."""
        return self._ints(self.sample_rows)

    @cached_property
    def adapted(self) -> Sequence[tuple[Adapter, Tensor]]:
        """The step's adapters, each with its rows, int64."""
        rows: dict[int, list[int]] = {}
        adapters: dict[int, Adapter] = {}
        for span in [span for span in self.spans if span.adapter is not None]:
            assert span.adapter is not None
            adapters[span.adapter.id] = span.adapter
            rows.setdefault(span.adapter.id, []).extend(range(span.start, span.start + span.count))
        return [(adapters[number], self._ints(places)) for number, places in rows.items()]

    @cached_property
    def slots(self) -> Tensor:
        """Where each token's state goes: block · BLOCK_TOKENS + offset, int64 [T]."""
        return self._ints(
            [
                span.blocks[p // BLOCK_TOKENS] * BLOCK_TOKENS + p % BLOCK_TOKENS
                for span in self.spans
                for p in self.positions[span.start : span.start + span.count]
            ]
        )

    @cached_property
    def decode_blocks(self) -> Tensor:
        """Block table of the decoding spans, padded with block 0, int64 [decodes, most blocks]."""
        spans = self.spans[: self.decodes]
        width = max((len(span.blocks) for span in spans), default=0)
        table = [span.blocks + [0] * (width - len(span.blocks)) for span in spans]
        return self._ints(table).reshape(self.decodes, width)

    @cached_property
    def decode_contexts(self) -> Tensor:
        """Context length of each decoding span, int64 [decodes]."""
        return self._ints([span.context for span in self.spans[: self.decodes]])

    @cached_property
    def prompts(self) -> PromptRows | None:
        """The spans of more than one row, if there are any."""
        spans = self.spans[self.decodes :]
        return PromptRows.of(spans, self.device) if spans else None

    def _ints(self, values: list[int] | list[list[int]]) -> Tensor:
        return torch.tensor(values, dtype=torch.int64, device=self.device)


def decoding_first(step: list[Work]) -> list[Work]:
    """The step with its one-token works in front, otherwise in order."""
    return sorted(step, key=lambda work: work.count > 1 or bool(work.draft))
