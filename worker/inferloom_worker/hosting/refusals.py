"""Why a model cannot be asked for something, as errors."""

from collections.abc import Iterable

from inferloom_mesh.errors import InferloomError, Reason, shown
from inferloom_mesh.suggestion import did_you_mean


def model_not_found(name: str, known: Iterable[str]) -> InferloomError:
    """The error for a model that is not here; names the one of ``known`` that is nearest."""
    message = f"The model '{shown(name)}' does not exist.{did_you_mean(name, known)}"
    return InferloomError(Reason.MODEL_NOT_FOUND, message, param="model")


def unsupported_task(name: str, task: str) -> InferloomError:
    """The error for a model that exists and cannot do what was asked."""
    return InferloomError(
        Reason.UNSUPPORTED_TASK, f"The model '{shown(name)}' does not {task}.", param="model"
    )


def not_now(message: str) -> InferloomError:
    """The error for what another worker can do, or this one a little later."""
    return InferloomError(Reason.NO_WORKER, message, retry_after=1.0)
