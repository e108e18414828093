"""Tokens that are expected to come, with what drafting looks up in them."""

from collections.abc import Mapping, Sequence

NGRAM = 2
"""Tokens that must stand alike before what follows is a guess."""


class Prediction:
    """What a request says will come. Made once for all of its choices, in time linear in its length, and not
    changed after.

    Args:
        tokens: In their order.
    """

    def __init__(self, tokens: Sequence[int]) -> None:
        self.tokens = tuple(tokens)
        places: dict[tuple[int, ...], list[int]] = {}
        for place in range(NGRAM, len(self.tokens)):
            places.setdefault(self.tokens[place - NGRAM : place], []).append(place)
        self.places: Mapping[tuple[int, ...], Sequence[int]] = places
        """Where the text goes on after some tokens, in rising order."""


NOTHING = Prediction(())
"""Nothing is expected."""
