"""What is said while something long comes."""

import pytest

from inferloom_worker.sourcing.amounts import Sayings, size


@pytest.mark.parametrize(
    ("number", "words"),
    [
        (0, "0 B"),
        (999, "999 B"),
        (1500, "2 kB"),
        (4.2e6, "4.2 MB"),
        (999.4e6, "999.4 MB"),
        (1.234e9, "1.23 GB"),
    ],
)
def test_sizes(number: float, words: str) -> None:
    """In the units of disks and networks."""
    assert size(number) == words


def test_amounts_are_said_at_first_now_and_then_and_at_the_end() -> None:
    """With how fast it was since the last words."""
    said: list[str] = []
    moments = iter((0.0, 1, 2, 10.9, 11, 20, 21, 22))
    told = Sayings("m", said.append, lambda: next(moments))
    for done in (10, 20, 50, 60, 65, 80, 100):
        told(done * 10**6, 10**8)
    assert said == [
        "m: 100.0 MB to fetch",
        "m: 60.0 MB of 100.0 MB, 5.0 MB/s",
        "m: 80.0 MB of 100.0 MB, 2.0 MB/s",
        "m: 100.0 MB fetched in 22 s",
    ]


def test_what_nobody_knows_is_not_said() -> None:
    """Such as the whole of a stream; and the end is said once."""
    said: list[str] = []
    told = Sayings("m", said.append, lambda: 1.0)
    told(5, None)
    told(6, 6)
    told(6, 6)
    assert said == ["m: fetching", "m: 6 B fetched in 0 s"]
