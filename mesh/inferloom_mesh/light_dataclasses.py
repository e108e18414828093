"""Dataclasses that are frozen for the type checker, and cheap to make.

At run time a frozen dataclass sets each field by a call of its own, so that one of seven fields takes several
times as long to make. What is made for every row of a step, or dozens of times in a request, takes
:func:`dataclass` from here: mypy refuses whoever assigns to a field, as with the standard library's.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from dataclasses import dataclass
else:
    import dataclasses

    def dataclass(cls=None, /, *, frozen=False, eq=True, **options):
        """As :func:`dataclasses.dataclass`, but that nothing keeps fields of a frozen one from being set."""
        return dataclasses.dataclass(cls, eq=eq, unsafe_hash=frozen and eq, **options)


__all__ = ["dataclass"]
