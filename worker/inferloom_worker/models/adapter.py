"""LoRA adapters in eager torch: each row of a step gets the change of its own adapter."""

from collections.abc import Hashable, Mapping
from itertools import count

import torch
import torch.nn.functional as F
from torch import Tensor

from inferloom_worker.lora.placement import Change, P, Part
from inferloom_worker.stepping.batch import StepTensors

adapter_ids = count(1)
"""Numbers for adapters, never given twice: state that one computed is never taken for another's."""


class TorchAdapter:
    """An :class:`~inferloom_worker.engine.adapter.Adapter` in a model's type and on its device."""

    def __init__(self, changes: Mapping[P, Change], dtype: torch.dtype, device: torch.device) -> None:
        def placed(tensor: Tensor) -> Tensor:
            return tensor.to(device, dtype)

        self.id = next(adapter_ids)
        self.changes: dict[Hashable, Change] = {
            place: Change(
                placed(change.a), tuple(Part(part.first, part.low, placed(part.b)) for part in change.parts)
            )
            for place, change in changes.items()
        }
        tensors = [t for c in self.changes.values() for t in (c.a, *(part.b for part in c.parts))]
        self.weights_bytes = sum(t.numel() * t.element_size() for t in tensors)


def adapt(outputs: Tensor, inputs: Tensor, place: Hashable, batch: StepTensors) -> Tensor:
    """Add to a projection's outputs what the adapters of its rows change; other rows are not touched.

    Args:
        outputs: [T, out], changed in place.
        inputs: [T, in].
        place: The projection.
        batch: The step, whose adapters are :class:`TorchAdapter`.

    Returns:
        ``outputs``.
    """
    for adapter, rows in batch.adapted:
        assert isinstance(adapter, TorchAdapter)
        change = adapter.changes.get(place)
        if change is None:
            continue
        low = F.linear(inputs[rows], change.a)
        for part in change.parts:
            added = F.linear(low[:, part.low : part.low + part.b.shape[1]], part.b)
            outputs[:, part.first : part.first + len(part.b)].index_add_(0, rows, added)
    return outputs
