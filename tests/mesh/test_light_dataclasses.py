"""Dataclasses that are cheap to make."""

from dataclasses import field, replace

from inferloom_mesh.light_dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Place:
    """Two numbers and a list."""

    row: int
    column: int = 0
    notes: list[int] = field(default_factory=list, compare=False)


@dataclass(frozen=True, slots=True, eq=False)
class Handle:
    """Equal to itself only."""

    number: int


def test_they_behave_as_frozen_ones() -> None:
    """Equality, hash, defaults, replacement and slots are those of the standard library's."""
    assert Place(1) == Place(1, 0, [5]) != Place(2)
    assert len({Place(1), Place(1), Place(2)}) == 2
    assert replace(Place(1), column=3) == Place(1, 3)
    assert not hasattr(Place(1), "__dict__")
    assert Handle(1) != Handle(1)
    assert len({Handle(1), Handle(1)}) == 2


def test_nothing_is_paid_for_being_frozen() -> None:
    """A field is set as in any other class, where a frozen dataclass calls for each."""
    assert "__setattr__" not in vars(Place)
