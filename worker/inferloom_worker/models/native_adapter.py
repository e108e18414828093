"""LoRA adapters in the kernel library."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from inferloom_worker.kernels.abi import PROJECTIONS, TILE
from inferloom_worker.kernels.library import address
from inferloom_worker.lora.placement import Change, DecoderPlace
from inferloom_worker.models.adapter import adapter_ids


class NativeAdapter:
    """An :class:`~inferloom_worker.engine.adapter.Adapter` in float32, whatever the model's own weights are.

    Args:
        library: The kernels.
        decoder: The model there.
        changes: By layer and projection.
    """

    def __init__(self, library: Any, decoder: Any, changes: Mapping[DecoderPlace, Change]) -> None:
        self.id = next(adapter_ids)
        self.weights_bytes = 0
        self._library = library
        self.handle: int = library.il_adapter_create(decoder)
        for (layer, projection), change in changes.items():
            self._put(layer, PROJECTIONS.index(projection), change)

    def __del__(self) -> None:
        if getattr(self, "handle", None):
            self._library.il_adapter_destroy(self.handle)

    def _put(self, layer: int, projection: int, change: Change) -> None:
        a = np.ascontiguousarray(change.a.numpy())
        self._library.il_adapter_change(self.handle, layer, projection, *a.shape, address(a))
        self.weights_bytes += a.nbytes
        for part in change.parts:
            outputs, rank = part.b.shape
            b = np.ascontiguousarray(part.b.numpy().reshape(-1, TILE, rank).swapaxes(1, 2))
            self._library.il_adapter_part(
                self.handle, layer, projection, part.first, outputs, part.low, rank, address(b)
            )
            self.weights_bytes += b.nbytes
