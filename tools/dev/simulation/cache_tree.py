"""A router that remembers which worker got which prompt, as SGLang's cache-aware policy does.

The thresholds are those of its documentation. A block stands for all tokens before it, so that the tree is a
table of blocks, each with the workers that got it.
"""

from collections.abc import Mapping, Sequence

MATCH = 0.3
"""Part of a prompt that must be in the tree for its worker to be taken."""

ABSOLUTE, RELATIVE = 64, 1.5
"""If the highest load is over the lowest by so much, and so many times, the lowest is taken."""

MOST_BLOCKS = 3_000_000
"""Blocks that are remembered; the oldest go first."""


class CacheTree:
    """Chooses the worker that had the longest part of a prompt, as long as loads are alike."""

    def __init__(self) -> None:
        self._latest: dict[int, int] = {}

    def choose(self, blocks: Sequence[int], alive: Sequence[int], loads: Mapping[int, int]) -> int:
        """One of ``alive``, given their loads."""
        lowest = min(alive, key=loads.__getitem__)
        highest = max(loads.values())
        chosen = lowest
        if not (highest - loads[lowest] > ABSOLUTE and highest > RELATIVE * loads[lowest]):
            latest, matched, worker = self._latest, 0, -1
            for block in blocks:
                found = latest.get(block)
                if found is None:
                    break
                matched, worker = matched + 1, found
            if matched > MATCH * len(blocks) and worker in loads:
                chosen = worker
        self._note(blocks, chosen)
        return chosen

    def _note(self, blocks: Sequence[int], worker: int) -> None:
        latest = self._latest
        for block in blocks:
            latest.pop(block, None)
            latest[block] = worker
        while len(latest) > MOST_BLOCKS:
            del latest[next(iter(latest))]
