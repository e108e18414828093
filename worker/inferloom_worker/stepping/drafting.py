"""Foreseeing a sequence's next tokens from its own past. Pure.

Prompt lookup (Saxena, "Prompt Lookup Decoding", 2023): where the last few tokens stood before, what followed
them then is a guess at what follows now. Answers that quote, correct or continue their prompt are full of
such places, and a guess costs no second model.
"""

from bisect import bisect_left
from collections.abc import Sequence

from inferloom_worker.engine.prediction import NGRAM, NOTHING, Prediction

MOST_PLACES = 8192
"""Places that a sequence's guesses can come from, the latest ones: about a megabyte."""

MEMORY = 0.93
"""Weight of what is known of a sequence's guesses relative to what its next guess adds."""

FIRST_TRUST, NEXT_TRUST = 0.3, 0.7
"""What is thought of a sequence's guesses before any was checked."""

SAMPLED_TRUST = 0.4
"""The part of that which is thought where tokens are drawn: they repeat less than the likeliest do."""

PREDICTED_TRUST = 0.9
"""What is thought of a text that the request says will come."""

PLEDGE_MEMORY, PLEDGE_PRIOR, PLEDGE_REST = 0.9, 2.0, 0.98
"""How long a sequence's drafts are held against what was expected of them: the weight of earlier ones with
each draft, tokens of faith to begin with, and what is left with each token that passes."""


class Drafter:
    """Guesses at one sequence's next tokens.

    It looks at one earlier place, ``source``, that has been alike so far, and stays with it while it keeps
    being right; then the latest place with the same last :data:`NGRAM` tokens takes over. Where the request
    says what will come, that is looked at first: from its beginning, and after an error from the next place
    in it that begins alike. Each token of the sequence checks the guess that was made of it, whether or not
    the guess was used. So what the guesses are worth is known without computing anything for them.

    Args:
        tokens: The sequence's tokens, prompt first. The list may grow, and never changes otherwise.
        prompt: How many of them are the prompt, which checks nothing: it says little of the answer.
        greedy: Whether the likeliest token is always taken.
        prediction: What is expected after the prompt.
    """

    def __init__(
        self, tokens: list[int], prompt: int, *, greedy: bool = True, prediction: Prediction = NOTHING
    ) -> None:
        self._tokens = tokens
        self._prompt = prompt
        self._prediction = prediction.tokens
        self._followed: Sequence[int] = tokens
        """What ``source`` is a place in: the tokens themselves, or the prediction."""
        self._reached = 0
        """The place in the prediction up to which it has come."""
        self._expected_places = prediction.places
        self._read = max(prompt - MOST_PLACES, 0)
        self._places: dict[tuple[int, ...], int] = {}
        self._source: int | None = None
        self._following = False
        trust = 1.0 if greedy else SAMPLED_TRUST
        self._first, self._next = trust * FIRST_TRUST, trust * NEXT_TRUST
        self._pledged = 0.0
        self._expected = self._accepted = 0.0

    def update(self) -> None:
        """Take in the tokens that are new, in time linear in their number."""
        tokens, places = self._tokens, self._places
        for place in range(self._read, len(tokens)):
            if self._source is not None:
                self._check(place, self._source)
            gram = tuple(tokens[place + 1 - NGRAM : place + 1]) if place + 1 >= NGRAM else ()
            found = places.pop(gram, None)  # so that the dict's order is that of the latest places
            if place == self._prompt - 1 and self._prediction:
                self._follow(self._prediction, 0, expected=True)
            elif self._source is None and (found is not None or self._prediction):
                self._look_up(gram, place, found)
            if gram:
                places[gram] = place + 1
                if len(places) > MOST_PLACES:
                    del places[next(iter(places))]
        self._read = len(tokens)

    def _check(self, place: int, source: int) -> None:
        """Compare the guess at ``place``, the token at ``source``, with what came."""
        right = self._followed[source] == self._tokens[place]
        self._expected *= PLEDGE_REST
        self._accepted *= PLEDGE_REST
        if place >= self._prompt:
            if self._following:
                self._next = _moved(self._next, right)
            else:
                self._first = _moved(self._first, right)
        self._following = True
        self._source = source + 1 if right else None
        if self._followed is self._prediction:
            self._reached = source + 1
            if self._reached == len(self._prediction):
                self._source = None

    def _look_up(self, gram: tuple[int, ...], place: int, found: int | None) -> None:
        """Find the place to look at after the last tokens: of those in a prediction the next one, or else the
        one in the tokens themselves that was ``found``."""
        if place >= self._prompt and (places := self._expected_places.get(gram)):
            after = places[bisect_left(places, self._reached) :]
            self._follow(self._prediction, after[0] if after else places[-1], expected=True)
        elif found is not None:
            self._follow(self._tokens, found)

    def _follow(self, followed: Sequence[int], source: int, *, expected: bool = False) -> None:
        self._followed, self._source = followed, source
        self._following = expected
        if expected and source == 0:
            self._next = PREDICTED_TRUST

    @property
    def has_guess(self) -> bool:
        """Whether it has one for the next token."""
        return self._source is not None

    def chance(self, depth: int) -> float:
        """How likely the first ``depth`` guesses are all right, in (0, 1); 0 where there is no guess."""
        return self._faith() * self._trust(depth)

    def _trust(self, depth: int) -> float:
        if self._source is None:
            return 0.0
        return float((self._next if self._following else self._first) * self._next ** (depth - 1))

    def _faith(self) -> float:
        """What its drafts brought of what was expected, at most 1. Guesses are drafted when they look good,
        so that more is expected of them than of all."""
        return min(1.0, (self._accepted + PLEDGE_PRIOR) / (self._expected + PLEDGE_PRIOR))

    def draft(self, count: int) -> tuple[int, ...]:
        """The next ``count`` tokens, as they followed the earlier place; only where there is a guess."""
        draft = self.guess(count)
        self._pledged = sum(self._trust(depth) for depth in range(1, len(draft) + 1))
        return draft

    def guess(self, count: int) -> tuple[int, ...]:
        """The same, without being held to it. Fewer where a prediction ends."""
        assert self._source is not None
        if self._followed is self._prediction:
            return self._prediction[self._source : self._source + count]
        draft: list[int] = []
        for place in range(self._source, self._source + count):
            # A source that reaches the end of the sequence goes on in its own draft: a loop stays a loop.
            known = place < len(self._tokens)
            draft.append(self._tokens[place] if known else draft[place - len(self._tokens)])
        return tuple(draft)

    def settle(self, accepted: int) -> None:
        """Note how many tokens of the last draft were right."""
        self._expected = PLEDGE_MEMORY * self._expected + self._pledged
        self._accepted = PLEDGE_MEMORY * self._accepted + accepted


def _moved(trust: float, right: bool) -> float:
    return MEMORY * trust + (1 - MEMORY) * right
