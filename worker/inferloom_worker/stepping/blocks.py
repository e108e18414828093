"""Who owns which block of the KV cache. Pure bookkeeping: no tensors."""

from collections import OrderedDict
from collections.abc import Callable, Iterable

BLOCK_TOKENS = 16
"""Tokens in one block."""


def blocks_for(tokens: int) -> int:
    """How many blocks hold the state of ``tokens`` tokens."""
    return -(-tokens // BLOCK_TOKENS)


class BlockPool:
    """Hands out blocks ``0 … count - 1`` and counts their owners.

    A block whose content may be wanted again is kept when its last owner leaves, and given away only when no
    other is free: least recently used first.
    """

    def __init__(self, count: int) -> None:
        self.count = count
        self._free = list(range(count - 1, -1, -1))
        self._owners = [0] * count
        self._kept: OrderedDict[int, Callable[[], object]] = OrderedDict()
        self._forget: dict[int, Callable[[], object]] = {}

    @property
    def free(self) -> int:
        """Blocks that nobody owns, kept ones included."""
        return len(self._free) + len(self._kept)

    def can_allocate(self, count: int) -> bool:
        """Whether ``allocate(count)`` would succeed."""
        return count <= self.free

    def allocate(self, count: int) -> list[int]:
        """Take ``count`` blocks of nobody's. Only after :meth:`can_allocate` said so."""
        assert self.can_allocate(count)
        return [self._take() for _ in range(count)]

    def share(self, blocks: Iterable[int]) -> None:
        """Become one more owner of blocks whose content is known."""
        for block in blocks:
            self._kept.pop(block, None)
            self._owners[block] += 1

    def release(self, blocks: list[int]) -> None:
        """Stop owning blocks, and empty the list. The last of a sequence's blocks are given away first."""
        for block in reversed(blocks):
            self._owners[block] -= 1
            if self._owners[block]:
                continue
            if block in self._forget:
                self._kept[block] = self._forget[block]
            else:
                self._free.append(block)
        blocks.clear()

    def keep(self, block: int, forget: Callable[[], object]) -> None:
        """Keep an owned block's content for later; ``forget`` is called when it is given away after all."""
        assert self._owners[block]
        self._forget[block] = forget

    def _take(self) -> int:
        if self._free:
            block = self._free.pop()
        else:
            block, forget = self._kept.popitem(last=False)
            del self._forget[block]
            forget()
        self._owners[block] = 1
        return block
