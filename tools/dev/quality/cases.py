"""The formats and kernels whose quality is measured."""

from dataclasses import dataclass, field

from inferloom_worker.engine.options import EngineOptions


@dataclass(frozen=True, slots=True)
class Case:
    """One way to compute the chat model, and what llama.cpp has for it."""

    name: str
    weights: str
    """What Inferloom serves; see :func:`peers.weights.weights`."""
    reference: str
    """Whose float32 numbers give the distributions that should be."""
    llama: str | None
    """The file that llama.cpp computes. None: it has nothing of the kind."""
    options: EngineOptions = field(default_factory=EngineOptions)


def _file(name: str) -> Case:
    return Case(name.upper(), name, name, name)


CASES = (
    _file("q4_0"),
    _file("q4_1"),
    _file("q8_0"),
    _file("q4_k"),
    _file("q6_k"),
    Case("bfloat16", "bf16", "bf16", "bf16.gguf"),
    Case("--quantize int8 (Q8_0)", "bf16", "bf16", "bf16.q8_0", EngineOptions(quantize="int8")),
    Case("--quantize int4 (Q4_1)", "bf16", "bf16", "bf16.q4_1", EngineOptions(quantize="int4")),
    Case("Q4_1, --dtype bfloat16", "q4_1", "q4_1", None, EngineOptions(dtype="bfloat16")),
    Case("Q4_1, --dtype float32", "q4_1", "q4_1", None, EngineOptions(dtype="float32")),
)
"""In parentheses: what llama.cpp rounds the same numbers to."""
