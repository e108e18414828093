"""Reusing the state of prompts that begin alike.

Full blocks form a tree: a node is a block's tokens after its parent's. A new sequence shares the blocks of
the longest path that it follows, after vLLM's automatic prefix caching and SGLang's RadixAttention (Zheng et
al., 2024). A node is announced when a sequence starts to compute it, so that others which follow the same
path can wait for it instead of computing it again.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from itertools import count

from inferloom_worker.stepping.blocks import BLOCK_TOKENS, BlockPool
from inferloom_worker.stepping.sequence import SequenceState

_Key = tuple[object, tuple[int, ...]]


@dataclass(slots=True, eq=False)
class _Node:
    key: _Key
    id: int
    block: int | None = None
    """Where its state is; None while its owner computes it."""
    owner: SequenceState | None = None


@dataclass(frozen=True, slots=True)
class Match:
    """The part of a sequence whose state exists, as blocks and their nodes; ``pending`` if more of it is
    being computed right now."""

    blocks: list[int]
    nodes: list[int]
    pending: bool = False


class PrefixCache:
    """The tree of blocks whose content is known or on its way."""

    def __init__(self, pool: BlockPool) -> None:
        self.pool = pool
        self._nodes: dict[_Key, _Node] = {}
        self._announced: dict[SequenceState, list[_Node]] = {}
        self._ids = count(1)

    def match(self, sequence: SequenceState) -> Match:
        """Find the longest known path of a sequence's tokens, its last token left to be computed, and those
        whose logits are wanted."""
        blocks: list[int] = []
        nodes: list[int] = []
        scores = sequence.scored < len(sequence.request.prompt)
        for tokens in _full_blocks(sequence.tokens[: sequence.scored - 1 if scores else -1]):
            node = self._nodes.get((nodes[-1] if nodes else _root(sequence), tokens))
            if node is None:
                break
            if node.block is None:
                return Match(blocks, nodes, pending=True)
            blocks.append(node.block)
            nodes.append(node.id)
        return Match(blocks, nodes)

    def announce(self, sequence: SequenceState) -> None:
        """Say that a sequence which was just admitted will compute the rest of its full blocks."""
        mine = self._announced.setdefault(sequence, [])
        parent = _parent(sequence)
        for tokens in _full_blocks(sequence.tokens[sequence.computed : -1]):
            node = self._nodes.get((parent, tokens))
            if node is None:
                node = self._add((parent, tokens))
                node.owner = sequence
                mine.append(node)
            parent = node.id

    def commit(self, sequence: SequenceState) -> None:
        """Take in the blocks that are full now."""
        first = len(sequence.nodes)
        if sequence.computed < (first + 1) * BLOCK_TOKENS:
            return
        known = sequence.tokens[first * BLOCK_TOKENS : sequence.computed]
        for block, tokens in zip(sequence.blocks[first:], _full_blocks(known), strict=False):
            key = (_parent(sequence), tokens)
            node = self._nodes.get(key) or self._add(key)
            if node.block is None:
                node.block, node.owner = block, None
                self.pool.keep(block, partial(self._nodes.pop, key))
            sequence.nodes.append(node.id)

    def _add(self, key: _Key) -> _Node:
        node = self._nodes[key] = _Node(key, next(self._ids))
        return node

    def retract(self, sequence: SequenceState) -> None:
        """Take back what a sequence that leaves had announced and not computed."""
        for node in self._announced.pop(sequence, ()):
            if node.owner is sequence:
                del self._nodes[node.key]


def _root(sequence: SequenceState) -> object:
    """Sequences of different salts share nothing, and those of different adapters have other state."""
    adapter = sequence.request.adapter
    return sequence.request.cache_salt, None if adapter is None else adapter.id


def _parent(sequence: SequenceState) -> object:
    return sequence.nodes[-1] if sequence.nodes else _root(sequence)


def _full_blocks(tokens: Sequence[int]) -> list[tuple[int, ...]]:
    whole = len(tokens) - len(tokens) % BLOCK_TOKENS
    return [tuple(tokens[i : i + BLOCK_TOKENS]) for i in range(0, whole, BLOCK_TOKENS)]
