"""Stop strings."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from inferloom_worker.output.stop_strings import StopMatcher

LETTERS = st.text(alphabet="ab", max_size=30)
STOPS = st.lists(st.text(alphabet="ab", min_size=1, max_size=5), max_size=4)


def reference(text: str, stops: list[str], *, include: bool) -> tuple[str, str | None]:
    """What should leave, found by looking at every prefix."""
    for end in range(1, len(text) + 1):
        found = [stop for stop in stops if text[:end].endswith(stop)]
        if found:
            stop = max(found, key=len)
            return text[: end if include else end - len(stop)], stop
    return text, None


def run(matcher: StopMatcher, pieces: list[str]) -> str:
    """Push pieces until one matches; what left, the rest included if none did."""
    sent = ""
    for piece in pieces:
        sent += matcher.push(piece)
        if matcher.matched is not None:
            return sent
    return sent + matcher.flush()


@given(pieces=st.lists(LETTERS, max_size=8), stops=STOPS, include=st.booleans())
def test_the_result_is_that_of_the_whole_text(pieces: list[str], stops: list[str], include: bool) -> None:
    """However the text is cut into pieces, the same leaves and the same stop string is reported."""
    matcher = StopMatcher(stops, include=include)

    assert reference("".join(pieces), stops, include=include) == (run(matcher, pieces), matcher.matched)


@given(text=LETTERS, stops=STOPS)
def test_no_more_is_held_back_than_could_become_a_stop(text: str, stops: list[str]) -> None:
    """What was pushed and has not left is the beginning of a stop string, and the longest such."""
    matcher = StopMatcher(stops)
    sent = matcher.push(text)
    if matcher.matched is not None:
        return
    held = max(
        (k for stop in stops for k in range(len(stop)) if text.endswith(stop[:k]) or k == 0), default=0
    )

    assert text[: len(text) - held] == sent


def test_the_first_to_be_complete_wins() -> None:
    """A stop string that began later but is complete earlier ends the text."""
    matcher = StopMatcher(["abcd", "bc"])

    assert run(matcher, ["xabcd"]) == "xa"
    assert matcher.matched == "bc"


def test_of_two_complete_at_once_the_longer_wins() -> None:
    """The text is cut before the longer one."""
    matcher = StopMatcher(["bc", "abc"])

    assert run(matcher, ["xabc"]) == "x"
    assert matcher.matched == "abc"


def test_an_unarmed_match_is_ordinary_text() -> None:
    """Before the least number of tokens a stop string passes; after it, one that began before counts."""
    matcher = StopMatcher(["stop"])

    assert matcher.push("a stop st", armed=False) == "a stop "
    assert matcher.push("op!") == ""
    assert matcher.matched == "stop"


def test_a_text_without_stop_strings_is_not_held() -> None:
    """Nothing to look for, nothing to wait for."""
    assert StopMatcher([]).push("anything") == "anything"


@pytest.mark.parametrize("include", [False, True])
def test_the_stop_string_is_kept_only_if_asked(include: bool) -> None:
    """``include`` keeps it, and still nothing after it."""
    matcher = StopMatcher(["END"], include=include)

    assert run(matcher, ["one E", "ND two"]) == ("one END" if include else "one ")
