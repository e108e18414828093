"""The last of what took long to find."""

import threading
from collections import OrderedDict
from collections.abc import Hashable
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class Kept(Generic[K, V]):
    """The values that were asked for last, bounded in number and in memory. Callable from any thread.

    Args:
        most: Values.
        most_bytes: Bytes that they may take together.
    """

    def __init__(self, most: int, most_bytes: int) -> None:
        self._most = most
        self._most_bytes = most_bytes
        self._lock = threading.Lock()
        self._values: OrderedDict[K, tuple[V, int]] = OrderedDict()

    def get(self, key: K) -> V | None:
        """The value of a key. None: it is not kept."""
        with self._lock:
            found = self._values.get(key)
            if found is None:
                return None
            self._values.move_to_end(key)
            return found[0]

    def put(self, key: K, value: V, size: int) -> None:
        """Keep a value that takes ``size`` bytes, and let go of others for it; none of what is larger than
        all may be."""
        with self._lock:
            self._values[key] = value, size
            self._values.move_to_end(key)
            held = sum(each for _, each in self._values.values())
            while len(self._values) > self._most or held > self._most_bytes:
                held -= self._values.popitem(last=False)[1][1]

    def clear(self) -> None:
        """Keep nothing."""
        with self._lock:
            self._values.clear()
