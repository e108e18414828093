"""How fast one worker answers for one model. Pure; time is given in."""

import math

HALF_LIFE_S = 3.0
"""After so long a measurement counts half."""

LEAST_SAMPLES = 3.0
"""Measurements of streams, weighted by age, without which nothing is said."""

LEAST_PROMPTS = 10.0
"""The same of prompts, whose times differ more."""

PROMPT_TOKENS = 256
"""What a prompt costs in any case, in tokens."""


class Mean:
    """The geometric mean of positive numbers, of which newer ones count more."""

    def __init__(self, least: float = LEAST_SAMPLES) -> None:
        self._least = least
        self._sum = self._weight = self._at = 0.0

    def add(self, value: float, now: float, weight: float = 1.0) -> None:
        """Note a number that stands for ``weight`` measurements."""
        self._age(now)
        self._sum += weight * math.log(max(value, 1e-6))
        self._weight += weight

    def read(self, now: float) -> float | None:
        """The mean; None while there are too few measurements of late."""
        self._age(now)
        if self._weight < self._least:
            return None
        return math.exp(self._sum / self._weight)

    def _age(self, now: float) -> None:
        kept = 0.5 ** (max(0.0, now - self._at) / HALF_LIFE_S)
        self._sum *= kept
        self._weight *= kept
        self._at = now


class Pace:
    """Time to read prompts, and from token to token, of one worker's calls for one model.

    The gap between tokens is the time that its streams spent, all together, over the tokens that came in it,
    so that calls cost one addition for each event, and streams tell before they end.
    """

    def __init__(self) -> None:
        self.tokens = 0
        """Tokens after each stream's first event; whoever reads them adds to it."""
        self.first = Mean(LEAST_PROMPTS)
        """Seconds to the first token, for each token that had to be read for it."""
        self.gap = Mean()
        """Seconds from token to token."""
        self._streams = 0
        self._spent = 0.0
        self._at = 0.0
        self._seen = (0.0, 0)

    def begin(self, now: float, since: float | None = None) -> None:
        """Note a stream's first token; ``since``: its time counts from then on, which is past."""
        self._pass(now)
        self._streams += 1
        if since is not None:
            self._spent += max(0.0, now - since)

    def read(self, wait_s: float, tokens: int, now: float) -> None:
        """Note how long a prompt of which ``tokens`` were not cached took, without its time in a queue."""
        self.first.add(max(0.0, wait_s) / (tokens + PROMPT_TOKENS), now)

    def end(self, now: float) -> None:
        """Note the end of a stream that has begun, or that nothing is wanted of it for now."""
        self._pass(now)
        self._streams -= 1

    def look(self, now: float) -> None:
        """Measure since the last look."""
        self._pass(now)
        spent, tokens = self._spent - self._seen[0], self.tokens - self._seen[1]
        if spent < 0.2:
            return
        self._seen = self._spent, self.tokens
        # Streams without a token for as long are at least that slow.
        self.gap.add(spent / max(tokens, 1), now, max(1.0, min(spent, 10.0)))

    def forget(self) -> None:
        """Measure anew."""
        self.first, self.gap = Mean(LEAST_PROMPTS), Mean()
        self._seen = self._spent, self.tokens

    def _pass(self, now: float) -> None:
        self._spent += self._streams * max(0.0, now - self._at)
        self._at = now
