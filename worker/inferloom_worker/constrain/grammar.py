"""What a constraint asks for, and what makes a constraint of it."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Protocol

from inferloom_worker.engine.constraint import Constraint


class Kind(Enum):
    """What a grammar's text is."""

    LLGUIDANCE = "llguidance"
    """Lark in the dialect of llguidance, or its list of grammars as JSON. Either may name special tokens, as
    ``<|name|>`` or ``<[id]>``."""
    JSON_SCHEMA = "json_schema"
    REGEX = "regex"
    CHOICE = "choice"
    """A JSON list of texts."""
    LARK = "lark"


@dataclass(frozen=True, slots=True)
class Grammar:
    """A grammar as it was asked for."""

    text: str
    param: str = "constraint"
    """The field that it comes from, for errors."""
    kind: Kind = Kind.LLGUIDANCE


@dataclass(frozen=True, slots=True)
class Ending:
    """What is known of an answer that is to end in time."""

    within: int
    """The tokens that it has."""
    marks: tuple[str, ...] = ()
    """What ends free text within it, as calls may have."""
    last: str | None = None
    """What may end it behind one of its parts, each of which takes tokens once it has begun: calls. None: it
    has no such parts."""
    answers: bool = True
    """Whether it ends where it is complete. Otherwise it may go on as long as there are tokens."""


class GrammarConstraint(Constraint, Protocol):
    """A constraint that was a grammar."""

    @property
    def notes(self) -> Sequence[str]:
        """What of it is not enforced, or more narrowly than it is meant; a few words each."""
        ...


class Grammars(Protocol):
    """Compiles grammars for one model. Callable from any thread."""

    def prepare(self) -> None:
        """Begin, on a thread of its own, what the first grammar would wait for."""
        ...

    def close(self) -> None:
        """End what it has running. Blocking, for a trial."""
        ...

    def compile(
        self,
        grammar: Grammar,
        *,
        stops: frozenset[int] = frozenset(),
        ignores_ends: bool = False,
        ending: Ending | None = None,
    ) -> GrammarConstraint:
        """The constraint that a grammar is. Blocking.

        Args:
            grammar: What to compile.
            stops: Tokens with which the caller ends a choice, besides the model's own.
            ignores_ends: Whether the model's own are to come only where nothing else may.
            ending: How it is to end in time. None: it may be cut anywhere.

        Raises:
            InferloomError: INVALID_ARGUMENT at the grammar's field: it is malformed, has something that is
                not supported, or takes more than the limits.
        """
        ...
