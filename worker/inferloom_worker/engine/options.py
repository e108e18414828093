"""What an engine can be told about memory, numbers and limits."""

from dataclasses import dataclass
from typing import Literal

Dtype = Literal["auto", "float32", "bfloat16", "float16"]

Quantize = Literal["int8", "int4"]

SpeculationSetting = Literal["auto", "off"] | int


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineOptions:
    """How a model is computed and how much of it runs at once."""

    dtype: Dtype = "auto"
    """``auto``: the file's own quantisation where the kernels compute it; otherwise bfloat16, or float32 on a
    CPU without bfloat16 arithmetic. Any other: weights are expanded to this type."""
    quantize: Quantize | None = None
    """Rounds full-precision weights when they are loaded, for the kernels. None: they stay as they are."""
    device: str = "auto"
    """``auto``: CUDA where there is one, otherwise the CPU."""
    max_running: int = 64
    """Sequences in the running batch."""
    max_waiting: int = 256
    """Requests that may wait ahead of another; past it that one is refused with SERVER_OVERLOADED."""
    max_wait_s: float = 30.0
    """How long a request may have to wait, as far as can be told; past it likewise."""
    max_step_tokens: int = 512
    """Tokens in one engine step, decoded and prefilled together."""
    speculation: SpeculationSetting = "auto"
    """Tokens that are guessed from a sequence's own past and checked together. ``auto``: as many as make
    steps yield more than they cost, by the time that steps were measured to take. A number: so many wherever
    there is a guess, at any cost. The output is the same with each."""
    context_length: int | None = None
    """Most tokens of one sequence. None: the model's own length."""
    kv_cache_bytes: int | None = None
    """Memory for sequence state. None: 1024 tokens for each running sequence, within a quarter of the
    memory that is free when the model is loaded, and at least one full context."""
    max_adapter_rank: int = 256
    """Highest rank of an adapter's changes."""
    threads: int | None = None
    """Threads of one engine on the CPU. None: one for each core."""
