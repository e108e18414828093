"""The operations of a layer in fused kernels."""

from torch import Tensor

from inferloom_worker.models.cache import PagedCache
from inferloom_worker.models.fused.decode_attention import decode_attention
from inferloom_worker.models.fused.gate import gate
from inferloom_worker.models.fused.prompt_attention import prompt_attention
from inferloom_worker.models.fused.residual_norm import add_and_norm, norm
from inferloom_worker.models.fused.rotary import rotate_and_store
from inferloom_worker.models.operations import AttentionShape
from inferloom_worker.stepping.batch import StepTensors


class FusedOperations:
    """The :class:`~inferloom_worker.models.operations.Operations` in Triton, for NVIDIA's GPUs.

    Between their matrix products layers only move memory, so each kernel reads and writes everything once.
    What attention reads stays in its blocks: nothing is gathered.
    """

    any_prompts = True

    norm = staticmethod(norm)
    add_and_norm = staticmethod(add_and_norm)
    gate = staticmethod(gate)
    rotate_and_store = staticmethod(rotate_and_store)

    def attend(
        self, query: Tensor, cache: PagedCache, layer: int, batch: StepTensors, shape: AttentionShape
    ) -> Tensor:
        keys, values = cache.keys[layer], cache.values[layer]
        decodes, prompts = batch.decodes, batch.prompts
        if prompts is None:
            return decode_attention(query, keys, values, batch.decode_blocks, batch.decode_contexts, shape)
        mixed = prompt_attention(query, keys, values, prompts, shape)
        if decodes:
            rows = query[:decodes]
            mixed[:decodes] = decode_attention(
                rows, keys, values, batch.decode_blocks, batch.decode_contexts, shape
            )
        return mixed
