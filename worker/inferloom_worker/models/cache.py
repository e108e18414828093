"""The paged KV cache of one model."""

import torch
from torch import Tensor

from inferloom_worker.stepping.blocks import BLOCK_TOKENS

LayerShape = tuple[int, int]
"""One layer's key-value heads and their width."""


def bytes_per_token(shapes: list[LayerShape], dtype: torch.dtype) -> int:
    """Bytes of keys and values that one token takes over all layers."""
    return 2 * dtype.itemsize * sum(heads * width for heads, width in shapes)


class PagedCache:
    """Keys and values of every layer, in blocks.

    Each layer has two tensors [blocks, kv_heads, BLOCK_TOKENS, head_dim]: a block of one head is contiguous,
    so gathering a sequence's blocks copies long runs. Memory is committed by the system as it is first
    written, not when the cache is made.
    """

    def __init__(
        self, shapes: list[LayerShape], blocks: int, dtype: torch.dtype, device: torch.device
    ) -> None:
        def pages() -> list[Tensor]:
            sizes = ((blocks, heads, BLOCK_TOKENS, width) for heads, width in shapes)
            return [torch.empty(size, dtype=dtype, device=device) for size in sizes]

        self.keys, self.values = pages(), pages()

    def write(self, layer: int, slots: Tensor, keys: Tensor, values: Tensor) -> None:
        """Store keys and values [T, kv_heads, head_dim] at ``slots`` [T]."""
        block, offset = slots // BLOCK_TOKENS, slots % BLOCK_TOKENS
        self.keys[layer][block, :, offset] = keys
        self.values[layer][block, :, offset] = values

    def read(self, layer: int, blocks: Tensor) -> tuple[Tensor, Tensor]:
        """Gather blocks [S, n] of S sequences: keys and values [S, kv_heads, n · BLOCK_TOKENS, head_dim]."""
        return _gather(self.keys[layer], blocks), _gather(self.values[layer], blocks)


def _gather(pages: Tensor, blocks: Tensor) -> Tensor:
    sequences, count = blocks.shape
    _, heads, tokens, width = pages.shape
    picked = pages[blocks]  # [S, n, heads, tokens, width]
    return picked.transpose(1, 2).reshape(sequences, heads, count * tokens, width)
