"""What has come of an answer and its caller has not read yet."""

from collections import deque
from collections.abc import Sequence

from inferloom_worker.output.completion import Item, PlainDelta


class Unread:
    """Items in the order in which they came."""

    def __init__(self) -> None:
        self.bytes = 0
        """About how many they take."""
        self._items: deque[Item] = deque()

    def __bool__(self) -> bool:
        return bool(self._items)

    def put(self, items: Sequence[Item]) -> None:
        """Add some."""
        for item in items:
            self._items.append(item)
            self.bytes += _size(item)

    def clear(self) -> None:
        """Forget all."""
        self._items.clear()
        self.bytes = 0

    def take(self) -> list[Item]:
        """The next ones: at most one Delta of each choice, with what plainly follows it."""
        found: list[Item] = []
        shown: set[int] = set()
        while self._items:
            choice = _choice(self._items[0])
            if choice is None:
                found.append(self._next())
            elif choice in shown:
                break
            else:
                shown.add(choice)
                found.append(self._joined(choice))
        return found

    def _next(self) -> Item:
        item = self._items.popleft()
        self.bytes -= _size(item)
        return item

    def _joined(self, choice: int) -> Item:
        """The first Delta, and as one with it what follows of the same choice and is as plain."""
        first = self._next()
        if not isinstance(first, PlainDelta):
            return first
        rest: list[PlainDelta] = []
        while self._items and isinstance(at := self._items[0], PlainDelta) and at.choice == choice:
            self._next()
            rest.append(at)
        if not rest:
            return first
        ids = [token for each in (first, *rest) for token in each.ids]
        return PlainDelta(choice, first.index, ids, "".join(each.text for each in (first, *rest)))


def _choice(item: Item) -> int | None:
    """The choice whose Delta it is."""
    if isinstance(item, PlainDelta):
        return item.choice
    return item.delta.choice if item.HasField("delta") else None


def _size(item: Item) -> int:
    """About the bytes that it takes."""
    if isinstance(item, PlainDelta):
        return 64 + 4 * len(item.text) + 8 * len(item.ids)
    return 64 + item.ByteSize()
