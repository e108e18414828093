"""What is known of a server and its model."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from inferloom_worker.engines.sidecar.kinds import MANNERS, Manner, ServerKind


class UnfitError(ValueError):
    """The server is there, and cannot be served; another try does not mend that. For people."""


class NotNowError(Exception):
    """The server answers, and says that it cannot be asked now. For people.

    Args:
        message: In its words.
        by_us: Whether it is we who cannot, who ask too often, say.
    """

    def __init__(self, message: str, *, by_us: bool) -> None:
        super().__init__(message)
        self.by_us = by_us


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """What is known of a server and of one of its models."""

    kind: ServerKind
    version: str
    model: str
    """Its name there."""
    tasks: frozenset[str]
    context_length: int = 0
    """0: not told."""
    vocabulary_size: int = 0
    dimensions: int = 0
    normalizes: bool = False
    """Whether its vectors have unit length."""
    slots: int = 0
    """Requests that it runs at once; 0: not told."""
    quantization: str = ""
    architecture: str = ""
    infills: bool = False
    lacks: frozenset[str] = frozenset()
    """Fields for conversations that its kind honours and this one, as it tells, does not."""
    variables: frozenset[str] | None = None
    """Those that its model's chat template reads. None: it does not tell."""
    sampling: Mapping[str, float] = field(default_factory=dict)
    """What it draws with where a request is silent, by the contract's names, as far as it tells."""
    weights: str = ""
    """A hash of what tells its weights apart from others', as far as it tells."""
    identity: str = ""
    """The same with what computes them: its version; its address too, where it tells nothing of weights."""

    @property
    def manner(self) -> Manner:
        """How it is spoken to."""
        return MANNERS[self.kind]

    @property
    def chat_parameters(self) -> Mapping[str, str]:
        """The fields that it honours in conversations, with what its JSON calls them."""
        return {
            name: theirs for name, theirs in self.manner.chat_parameters.items() if name not in self.lacks
        }

    @property
    def server(self) -> str:
        """Kind and version, as a card has it."""
        return f"{self.kind.value} {self.version}".strip()


UNKNOWN = Facts(kind=ServerKind.OPENAI, version="", model="", tasks=frozenset())
"""Those of a server that was not asked yet."""
