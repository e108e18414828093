"""Waiting between tries."""

import random
from collections.abc import Iterator


def backoff(first: float = 0.1, most: float = 2.0) -> Iterator[float]:
    """Yield waits in seconds that double from ``first`` to ``most``, each spread over its upper half.

    The spread keeps clients that failed together from returning together.
    """
    wait = first
    while True:
        yield wait * random.uniform(0.5, 1.0)  # noqa: S311 # not a secret
        wait = min(wait * 2, most)
