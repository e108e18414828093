"""Who owns which block of the KV cache. Pure bookkeeping: no tensors."""

BLOCK_TOKENS = 16
"""Tokens in one block."""


def blocks_for(tokens: int) -> int:
    """How many blocks hold the state of ``tokens`` tokens."""
    return -(-tokens // BLOCK_TOKENS)


class BlockPool:
    """Hands out blocks ``0 … count - 1``, most recently freed first, so that hot memory is reused."""

    def __init__(self, count: int) -> None:
        self.count = count
        self._free = list(range(count - 1, -1, -1))

    @property
    def free(self) -> int:
        """Blocks that nobody owns."""
        return len(self._free)

    def can_allocate(self, count: int) -> bool:
        """Whether ``allocate(count)`` would succeed."""
        return count <= len(self._free)

    def allocate(self, count: int) -> list[int]:
        """Take ``count`` blocks. Only after :meth:`can_allocate` said so."""
        assert self.can_allocate(count)
        return [self._free.pop() for _ in range(count)]

    def release(self, blocks: list[int]) -> None:
        """Give blocks back, and empty the list."""
        self._free.extend(reversed(blocks))
        blocks.clear()
