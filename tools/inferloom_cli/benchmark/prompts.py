"""The texts that a load sends, made of a number: a run can be repeated, and no prompt comes twice. Pure."""

import random

_TOPICS = (
    "a gardener on the moon",
    "the last ferry",
    "two clockmakers",
    "a village under snow",
    "the map with a hole",
    "a very slow horse",
    "an island of bells",
    "the night watchman",
    "a baker and her rival",
    "the river that turned",
)
_WORDS = tuple(
    """
    water light house road small river stone people winter garden music paper bridge window summer letter
    market forest village machine story green early morning table round yellow open silver heavy quiet never
    always under over before after between world country city field family friend animal number picture book
    """.split()  # noqa: SIM905 # fifty quoted words are harder to read
)
"""Each is one token, with its space, in most vocabularies."""


def story(number: int) -> str:
    """A short prompt of about 30 tokens that asks for a long answer."""
    topic = _TOPICS[number % len(_TOPICS)]
    return (
        f"Story {number}: write a very long tale about {topic}. "
        "Say much about the people, the places they go and the weather."
    )


def words(count: int, seed: int) -> str:
    """``count`` words, which is about as many tokens."""
    return " ".join(random.Random(seed).choices(_WORDS, k=count))  # noqa: S311 # not for secrets


def prompt(number: int, tokens: int | None) -> str:
    """A prompt of about ``tokens`` tokens that begins unlike any other; None: a short one."""
    return story(number) if tokens is None else f"{number} {words(max(tokens - 4, 1), number)}"


def prefix(tokens: int) -> str:
    """The system prompt of about ``tokens`` tokens that all requests of a load share."""
    return f"Write in the manner of these notes. {words(max(tokens - 8, 1), tokens)}."


def passage(number: int) -> str:
    """A text of 8 to 64 words to embed."""
    return words(8 + random.Random(-1 - number).randrange(57), number)  # noqa: S311 # not for secrets
