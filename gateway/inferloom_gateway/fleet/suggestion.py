"""The answer to a model's name that nobody serves."""

from collections.abc import Iterable

from inferloom_mesh.errors import InferloomError, Reason, invalid, shown
from inferloom_mesh.suggestion import did_you_mean


def model_not_found(model: str, known: Iterable[str]) -> InferloomError:
    """The error for a model that nobody serves, nor did lately; names the nearest of ``known``."""
    if not model:
        return invalid("model", "A model must be named.")
    message = f"The model '{shown(model)}' does not exist.{did_you_mean(model, known)}"
    return InferloomError(Reason.MODEL_NOT_FOUND, message, param="model")
