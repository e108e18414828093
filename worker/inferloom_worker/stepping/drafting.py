"""Foreseeing a sequence's next tokens from its own past. Pure.

Prompt lookup (Saxena, "Prompt Lookup Decoding", 2023): where the last few tokens stood before, what followed
them then is a guess at what follows now. Answers that quote, correct or continue their prompt are full of
such places, and a guess costs no second model.
"""

NGRAM = 2
"""Tokens that must stand alike before what follows is a guess."""

MOST_PLACES = 8192
"""Places that a sequence's guesses can come from, the latest ones: about a megabyte."""

MEMORY = 0.9
"""Weight of what is known of a sequence's guesses relative to what its next guess adds."""

FIRST_TRUST, NEXT_TRUST = 0.3, 0.7
"""What is thought of a sequence's guesses before any was checked."""


class Drafter:
    """Guesses at one sequence's next tokens.

    It looks at one earlier place, ``source``, that has been alike so far, and stays with it while it keeps
    being right; then the latest place with the same last :data:`NGRAM` tokens takes over. Each token of the
    sequence checks the guess that was made of it, whether or not the guess was used. So what the guesses are
    worth is known without computing anything for them.

    Args:
        tokens: The sequence's tokens, prompt first. The list may grow, and never changes otherwise.
        prompt: How many of them are the prompt, which checks nothing: it says little of the answer.
    """

    def __init__(self, tokens: list[int], prompt: int) -> None:
        self._tokens = tokens
        self._prompt = prompt
        self._read = max(prompt - MOST_PLACES, 0)
        self._places: dict[tuple[int, ...], int] = {}
        self._source: int | None = None
        self._following = False
        self._first, self._next = FIRST_TRUST, NEXT_TRUST

    def update(self) -> None:
        """Take in the tokens that are new, in time linear in their number."""
        for place in range(self._read, len(self._tokens)):
            self._check(place)
            gram = tuple(self._tokens[place + 1 - NGRAM : place + 1]) if place + 1 >= NGRAM else ()
            if self._source is None:
                self._source = self._places.get(gram)
                self._following = False
            if gram:
                self._places.pop(gram, None)  # so that the dict's order is that of the latest places
                self._places[gram] = place + 1
                if len(self._places) > MOST_PLACES:
                    del self._places[next(iter(self._places))]
        self._read = len(self._tokens)

    def _check(self, place: int) -> None:
        """Compare the guess at ``place`` with what came."""
        if self._source is None:
            return
        right = self._tokens[self._source] == self._tokens[place]
        if place >= self._prompt:
            if self._following:
                self._next = _moved(self._next, right)
            else:
                self._first = _moved(self._first, right)
        self._following = True
        self._source = self._source + 1 if right else None

    def chance(self, depth: int) -> float:
        """How likely the first ``depth`` guesses are all right, in (0, 1); 0 where there is no guess."""
        if self._source is None:
            return 0.0
        return float((self._next if self._following else self._first) * self._next ** (depth - 1))

    def draft(self, count: int) -> tuple[int, ...]:
        """The next ``count`` tokens, as they followed the earlier place; only where there is a guess."""
        assert self._source is not None
        draft: list[int] = []
        for place in range(self._source, self._source + count):
            # A source that reaches the end of the sequence goes on in its own draft: a loop stays a loop.
            known = place < len(self._tokens)
            draft.append(self._tokens[place] if known else draft[place - len(self._tokens)])
        return tuple(draft)


def _moved(trust: float, right: bool) -> float:
    return MEMORY * trust + (1 - MEMORY) * right
