"""What a constraint asks for, and what makes a constraint of it."""

from dataclasses import dataclass
from typing import Protocol

from inferloom_worker.engine.constraint import Constraint


@dataclass(frozen=True, slots=True)
class Grammar:
    """A grammar for llguidance: Lark in its dialect, or its list of grammars as JSON.

    Either may name special tokens, as ``<|name|>`` or ``<[id]>``.
    """

    text: str
    param: str = "constraint"
    """The field that it comes from, for errors."""
    notes: tuple[str, ...] = ()
    """What of the constraint is not enforced, one sentence each."""


class Grammars(Protocol):
    """Compiles grammars for one model. Callable from any thread."""

    def compile(
        self, grammar: Grammar, *, stops: frozenset[int] = frozenset(), ignores_ends: bool = False
    ) -> Constraint:
        """The constraint that a grammar is. Blocking.

        Args:
            grammar: What to compile.
            stops: Tokens with which the caller ends a choice, besides the model's own.
            ignores_ends: Whether the model's own are to come only where nothing else may.

        Raises:
            InferloomError: INVALID_ARGUMENT at the grammar's field: it is malformed, has something that is
                not supported, or takes more than the limits.
        """
        ...
