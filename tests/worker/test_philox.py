"""The random stream."""

import numpy as np
import pytest

from inferloom_worker.stepping.philox import philox4x32, uniforms

# Known answers published with the generator: counter, key, result.
KNOWN = [
    ((0, 0, 0, 0), (0, 0), (0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8)),
    ((0xFFFFFFFF,) * 4, (0xFFFFFFFF,) * 2, (0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD)),
    (
        (0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344),
        (0xA4093822, 0x299F31D0),
        (0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1),
    ),
]


@pytest.mark.parametrize(("counter", "key", "expected"), KNOWN)
def test_the_generator_gives_the_published_answers(
    counter: tuple[int, ...], key: tuple[int, ...], expected: tuple[int, ...]
) -> None:
    """Philox4x32-10 reproduces the reference vectors."""
    words = [np.array([w], dtype=np.uint64) for w in (*counter, *key)]
    result = philox4x32((words[0], words[1], words[2], words[3]), (words[4], words[5]))
    assert tuple(int(w[0]) for w in result) == expected


def test_draws_depend_only_on_their_own_row() -> None:
    """A row's number is the same alone and among others."""
    together = uniforms([1, 2, 2**64 - 1], [0, 1, 2], [5, 6, 7])
    assert [
        uniforms([s], [c], [p])[0] for s, c, p in [(1, 0, 5), (2, 1, 6), (2**64 - 1, 2, 7)]
    ] == together.tolist()


def test_few_rows_draw_what_many_do() -> None:
    """Python's numbers and numpy's are the same, bit for bit."""
    seeds = [(n * 0x9E3779B97F4A7C15) % 2**64 for n in range(200)]
    choices, positions = [n % 5 for n in range(200)], [n * n for n in range(200)]
    many = uniforms(seeds, choices, positions).tolist()
    assert many == [
        float(uniforms([s], [c], [p])[0]) for s, c, p in zip(seeds, choices, positions, strict=True)
    ]


def test_draws_are_uniform() -> None:
    """Twenty thousand positions fill ten bins evenly, within five standard deviations."""
    count = 20_000
    numbers = uniforms([42] * count, [0] * count, list(range(count)))
    bins = np.histogram(numbers, bins=10, range=(0, 1))[0]
    assert numbers.min() >= 0
    assert numbers.max() < 1
    assert np.abs(bins - count / 10).max() < 5 * (count * 0.1 * 0.9) ** 0.5
