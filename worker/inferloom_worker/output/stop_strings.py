"""Stop strings, found in a text that comes in pieces."""

from collections.abc import Sequence


class StopMatcher:
    """Passes text on until a stop string is complete, holding back only what could still become one.

    The stop string that is complete first wins; of several complete at the same character, the longest. So
    the result does not depend on how the text was cut into pieces.

    Args:
        stops: The stop strings, none of them empty.
        include: Whether a stop string found is part of the text.
    """

    __slots__ = ("_failures", "_held", "_include", "_states", "_stops", "matched")

    def __init__(self, stops: Sequence[str], *, include: bool = False) -> None:
        # Longest first: the first that is complete is the one to report.
        self._stops = sorted(set(stops), key=len, reverse=True)
        self._failures = [_failure_table(stop) for stop in self._stops]
        self._states = [0] * len(self._stops)
        self._held = ""
        self._include = include
        self.matched: str | None = None
        """The stop string that was found. After that, no more text is to be pushed."""

    def push(self, text: str, *, armed: bool = True) -> str:
        """Add text, and return what may be passed on.

        Where ``armed`` is false, a stop string that becomes complete in this piece is ordinary text.
        """
        if not self._stops or not text:
            return text
        held = self._held + text
        start = len(self._held)
        for offset, character in enumerate(text):
            found = self._step(character)
            if found is not None and armed:
                self.matched = found
                self._held = ""
                end = start + offset + 1
                return held[: end if self._include else end - len(found)]
        keep = len(held) - max(self._states)
        self._held = held[keep:]
        return held[:keep]

    def flush(self) -> str:
        """What was held back, when no more text comes."""
        held, self._held = self._held, ""
        return held

    def _step(self, character: str) -> str | None:
        """Advance every stop string's automaton; the longest that is now complete."""
        found = None
        for i, stop in enumerate(self._stops):
            failures, state = self._failures[i], self._states[i]
            while state and stop[state] != character:
                state = failures[state - 1]
            if stop[state] == character:
                state += 1
            if state == len(stop):
                found = found or stop
                state = failures[-1]
            self._states[i] = state
        return found


def _failure_table(stop: str) -> list[int]:
    """Knuth, Morris and Pratt: for each prefix, the length of its longest proper prefix that ends it."""
    table = [0]
    for character in stop[1:]:
        length = table[-1]
        while length and stop[length] != character:
            length = table[length - 1]
        table.append(length + 1 if stop[length] == character else 0)
    return table
