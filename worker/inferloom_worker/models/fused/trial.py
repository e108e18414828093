"""Whether a GPU can run the fused kernels for a model."""

import logging
from collections.abc import Iterable

import torch

from inferloom_worker.models.cache import LayerShape, PagedCache
from inferloom_worker.models.cuda_graph import RECORDING, wait_for
from inferloom_worker.models.fused.operations import FusedOperations
from inferloom_worker.models.operations import AttentionShape
from inferloom_worker.stepping.batch import Span, StepBatch
from inferloom_worker.stepping.prompt_rows import PROMPT_TILE

log = logging.getLogger(__name__)


def runs(heads: int, layers: Iterable[LayerShape], dtype: torch.dtype, device: torch.device) -> bool:
    """Attend once, as a model of these heads would, in layers of these key-value heads and widths. False
    where the kernels do not compile for the device or it has too little memory on chip; the log says why."""
    operations = FusedOperations()
    count = PROMPT_TILE + 1
    blocks = list(range(-(-count // 16)))
    spans = [Span(0, 1, 1, blocks[:1]), Span(1, count, count, blocks)]
    batch = StepBatch([0] * (count + 1), [0] * (count + 1), spans, [], device)
    try:
        with RECORDING:
            for shape in set(layers):
                cache = PagedCache([shape], len(blocks), dtype, device)
                query = torch.zeros((count + 1, heads, shape[1]), dtype=dtype, device=device)
                operations.attend(query, cache, 0, batch, AttentionShape(1.0))
                operations.attend(query, cache, 0, batch, AttentionShape(1.0, softcap=1.0))
            wait_for(device)
    except Exception as failure:
        # A compiler's errors are of many types, and all mean the same.
        log.warning("%s does not run the fused kernels, so operations are torch's: %s", device, failure)
        return False
    return True
