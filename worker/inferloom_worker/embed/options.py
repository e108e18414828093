"""What an embedder can be told, and what it tells of itself."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Caller:
    """For whom something is computed, as far as a model tells its callers apart."""

    tenant: str = ""
    """Who is to get a fair share of the model."""
    share: float = 1.0
    """His part, in relation to others'."""
    cache_scope: str = ""
    """Whom cached state is kept within. Empty: everybody."""


NOBODY = Caller()


@dataclass(frozen=True, slots=True, kw_only=True)
class EmbedOptions:
    """How texts are embedded."""

    batch_size: int = 32
    """Texts in one pass at most."""
    batch_tokens: int = 8192
    """Tokens in one pass at most, padding included; a longer single text goes alone."""
    max_waiting: int = 8192
    """Texts that wait; past it a request is refused with SERVER_OVERLOADED."""
    dtype: str = "auto"
    """``auto``: the kernels' own type where they compute the model, otherwise float32. Any other: the model's
    own modules in that type."""
    threads: int | None = None
    """Threads of one pass on the CPU. None: one for each core."""
    device: str = "auto"
    """``auto``: CUDA where there is one, otherwise the CPU."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RankerInfo:
    """What a cross-encoder computes with."""

    max_tokens: int
    """Tokens of a query and a document together, special tokens included."""
    vocab_size: int
    dtype: str
    """Type that products are computed in."""
    weights_bytes: int
    batch_size: int
    engine: str = "sentence-transformers"
    """What computes: ``kernels`` or ``sentence-transformers``."""
    instruction_set: str = ""
    """What it is computed with, as far as results depend on it. Empty: not told apart."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EmbedderInfo:
    """What an embedder computes with."""

    dimensions: int
    max_tokens: int
    """Tokens of one text, its special tokens included."""
    vocab_size: int
    normalizes: bool
    """Whether the model's own vectors have unit length."""
    shortens: bool
    """Whether the leading part of a vector is a vector of its own (Matryoshka training)."""
    dtype: str
    """Type that products are computed in."""
    weights_bytes: int
    batch_size: int
    engine: str = "sentence-transformers"
    """What computes: ``kernels``, ``torch``, ``vllm``, ``sentence-transformers`` or ``sidecar``."""
    instruction_set: str = ""
    """What it is computed with, as far as results depend on it. Empty: not told apart."""
