"""What somebody probably meant."""

from collections.abc import Iterable
from difflib import get_close_matches

from inferloom_mesh.errors import InferloomError, Reason, invalid, shown

MOST_CHARACTERS = 64
"""Longer words get no suggestion: comparing takes time that grows with their square."""

MOST_KNOWN = 1000
"""Known words that are compared."""


def nearest(word: str, known: Iterable[str]) -> str | None:
    """The known word that is nearest to ``word``: one that it begins, else one that is spelled much alike.

    Case does not count. None: there is no such word, or ``word`` is one of them.
    """
    if not word or len(word) > MOST_CHARACTERS:
        return None
    candidates = sorted(other for other in known if len(other) <= 2 * MOST_CHARACTERS)[:MOST_KNOWN]
    if word in candidates:
        return None
    folded = {other.lower(): other for other in reversed(candidates)}
    low = word.lower()
    if low in folded:
        return folded[low]
    if len(low) >= 3:
        longer = [other for other in folded if other.startswith(low)]
        if longer:
            return folded[min(longer, key=len)]
    close = get_close_matches(low, folded, n=1, cutoff=0.75)
    return folded[close[0]] if close else None


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """`` Did you mean 'x'?``, to be put after a sentence; empty if there is nothing to suggest."""
    meant = nearest(word, known)
    return "" if meant is None else f" Did you mean '{meant}'?"


def model_not_found(model: str, known: Iterable[str]) -> InferloomError:
    """The error for a model that is not served, nor was lately; names the nearest of ``known``."""
    if not model:
        return invalid("model", "A model must be named.")
    message = f"The model '{shown(model)}' does not exist.{did_you_mean(model, known)}"
    return InferloomError(Reason.MODEL_NOT_FOUND, message, param="model")
