"""How long a step takes, and so how much it may carry. Pure.

A step's time is close to ``base + slope · rows``, decoding and prompt rows alike: ``base`` is reading the
weights, which large machines feel most, and ``slope`` is arithmetic, which small ones do. The two are fitted
to the steps that were run, recent ones weighing more, so that nothing needs to be known of the machine. They
say how much of a prompt may be read beside decoding, so that running streams keep their pace, and how much of
a step is there to be shared by more rows.
"""

from inferloom_worker.stepping.draft_price import DraftPrice

DECAY = 0.99
"""Weight of a step relative to the one after it."""

LEAST_ROWS = 8
"""Prompt rows that a step may always read: a prompt must get on, whatever the fit says."""

MOST_S = 5.0
"""How long a step is to take at most, in seconds, on a machine that is slow with its model: until it ends,
nobody can be let go, and who waits for it cannot tell it from one that hangs."""

FIRST_ROWS = 128
"""Prompt rows of a step before any is known to be quick enough."""


class Pacing:
    """Fits step times; prompt rows keep a step within ``stretch`` times its decode time.

    Where more sequences wait for their prompts than are decoding, prompts get as many times more: what a step
    is longer costs every decoding sequence once, and what it reads is gained by everyone who waits.
    """

    # Rows deep in a long prompt cost up to twice what the fit says, because they attend to more; so 1.45
    # keeps steps within twice their time.
    def __init__(self, stretch: float = 1.45) -> None:
        self.stretch = stretch
        self._weight = self._x = self._y = self._xx = self._xy = 0.0
        self._prices = {greedy: DraftPrice() for greedy in (True, False)}
        self._large: tuple[int, float] | None = None
        """Rows and seconds of the last large step."""

    @property
    def most_rows(self) -> int:
        """Most rows of a step, so that it ends within ``MOST_S`` even if its time is all arithmetic."""
        if self._large is None:
            return FIRST_ROWS
        rows, seconds = self._large
        return max(LEAST_ROWS, int(MOST_S * rows / max(seconds, 1e-9)))

    def took(self, rows: int, seconds: float) -> None:
        """Take in how long a step of so many rows took, drafts counted. A step that only decodes tells little
        of one that reads: its time is the weights'."""
        usual = LEAST_ROWS if self._large is None else min(self._large[0], self.most_rows)
        if rows >= max(LEAST_ROWS, usual // 2) or seconds > MOST_S:
            self._large = rows, seconds

    def observe_drafts(self, rows: int, drafts: int, accepted: int, seconds: float, *, greedy: bool) -> None:
        """Take in a step of ``rows`` rows that decode, and ``drafts`` draft tokens, ``accepted`` of them
        right, of sequences that are all greedy, or all drawn."""
        fit = self._fit()
        if fit is not None:
            base, slope = fit
            without = base + slope * rows
            self._prices[greedy].observe(drafts, seconds - without, accepted * without / rows, slope)

    def draft_price(self, greedy: bool) -> float:
        """How many rows a draft token costs, with caution."""
        fit = self._fit()
        return 1.0 if fit is None else self._prices[greedy].rows(fit[1])

    def observe(self, rows: int, seconds: float) -> None:
        """Take in a step of ``rows`` rows, none of them of a draft."""
        for price in self._prices.values():
            price.rest()
        self._weight = DECAY * self._weight + 1
        self._x = DECAY * self._x + rows
        self._y = DECAY * self._y + seconds
        self._xx = DECAY * self._xx + rows * rows
        self._xy = DECAY * self._xy + rows * seconds

    def prompt_rows(self, decoding: int, reading: int) -> int:
        """Most prompt rows beside ``decoding`` rows, one or more, while ``reading`` sequences want some; at
        least ``LEAST_ROWS``."""
        overhead = self.overhead
        if overhead is None:
            return LEAST_ROWS
        crowd = max(1.0, reading / decoding)
        return max(LEAST_ROWS, int((self.stretch - 1) * (overhead + decoding) * crowd))

    @property
    def overhead(self) -> float | None:
        """How many rows cost as much as ``base``; None where the steps so far do not tell."""
        fit = self._fit()
        return None if fit is None else fit[0] / fit[1]

    def _fit(self) -> tuple[float, float] | None:
        """Base and slope, the latter above 0."""
        spread = self._weight * self._xx - self._x**2
        # Steps of one size tell nothing of the slope; one prompt's own steps soon do.
        if spread < 1e-9 * max(self._xx, 1.0):
            return None
        slope = (self._weight * self._xy - self._x * self._y) / spread
        base = (self._y - slope * self._x) / self._weight
        return (max(base, 0.0), slope) if slope > 0 else None
