"""What the last digits of an answer depend on besides the model."""

import platform
from importlib.metadata import PackageNotFoundError, version

from inferloom_worker.kernels.library import built_from

_LIBRARIES = {
    "torch": ("torch", "transformers"),
    "sentence-transformers": ("torch", "transformers", "sentence-transformers"),
    "vllm": ("torch", "vllm"),
}
"""The distributions that an engine computes with, by its name on cards."""


def computed_with(engine: str, instruction_set: str) -> str:
    """The instruction set, and the versions of what computes; for the kernels this is a digest of the sources
    that the library in use was built from, and so of the form in which it holds activations. Nothing for an
    engine that computes alike everywhere.

    Args:
        engine: As on the model's card.
        instruction_set: Likewise.
    """
    if engine == "kernels":
        return f"{built_from()} {platform.machine()} {instruction_set}"
    if engine in _LIBRARIES:
        return " ".join([*map(_version, _LIBRARIES[engine]), platform.machine(), instruction_set])
    return ""


def _version(distribution: str) -> str:
    try:
        return f"{distribution} {version(distribution)}"
    except PackageNotFoundError:
        return distribution
