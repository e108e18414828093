"""Why a model cannot be asked for something, as errors."""

from inferloom_mesh.errors import InferloomError, Reason


def model_not_found(name: str) -> InferloomError:
    """The error for a model that is not here."""
    return InferloomError(Reason.MODEL_NOT_FOUND, f"The model '{name[:128]}' does not exist.", param="model")


def unsupported_task(name: str, task: str) -> InferloomError:
    """The error for a model that exists and cannot do what was asked."""
    return InferloomError(Reason.UNSUPPORTED_TASK, f"The model '{name}' does not {task}.", param="model")


def not_now(message: str) -> InferloomError:
    """The error for what another worker can do, or this one a little later."""
    return InferloomError(Reason.NO_WORKER, message, retry_after=1.0)
