"""What the echo engine can be told, in its spec: ``echo:delay_ms=5,tokens=64``."""

from dataclasses import dataclass
from typing import Self

READY_TOKENS = 64


@dataclass(frozen=True, slots=True)
class EchoOptions:
    """How the echo engine answers."""

    delay_ms: float = 0.0
    """Time between hand-overs of tokens, in milliseconds."""
    tokens: int | None = None
    """Most tokens of a completion, as if an end token followed. None: as many as asked for."""
    chunk: int | None = None
    """Tokens per hand-over. None: 1 where there is a delay. Where there is none, an engine is always ahead of
    its reader, who then gets what is ready together: 64."""
    context: int = 8192
    """Context length in tokens."""

    @property
    def tokens_at_once(self) -> int:
        """Tokens per hand-over, as they come to be."""
        return self.chunk or (1 if self.delay_ms else READY_TOKENS)

    @classmethod
    def parse(cls, spec: str) -> Self:
        """Read ``echo`` or ``echo:name=number,…``.

        Raises:
            ValueError: An option is unknown or its value out of range; the message says which.
        """
        values: dict[str, float | int] = {}
        for option in filter(None, spec.removeprefix("echo").removeprefix(":").split(",")):
            name, _, text = option.partition("=")
            kind, least = _KINDS.get(name, (None, 0))
            try:
                value = kind(text) if kind is not None else None
            except ValueError:
                value = None
            if value is None or not least <= value < 1e9:
                known = ", ".join(_KINDS)
                raise ValueError(f"{option!r} is no option of the echo engine; it has {known}, each a number")
            values[name] = value
        return cls(**values)  # type: ignore[arg-type] # each value was made by its field's type


_KINDS: dict[str, tuple[type[int] | type[float], int]] = {
    "delay_ms": (float, 0),
    "tokens": (int, 1),
    "chunk": (int, 1),
    "context": (int, 2),
}
