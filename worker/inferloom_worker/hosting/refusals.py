"""Why a model cannot be asked for something, as errors."""

from inferloom_mesh.errors import InferloomError, Reason, shown


def unsupported_task(name: str, task: str) -> InferloomError:
    """The error for a model that exists and cannot do what was asked."""
    return InferloomError(
        Reason.UNSUPPORTED_TASK, f"The model '{shown(name)}' does not {task}.", param="model"
    )


def not_now(message: str) -> InferloomError:
    """The error for what another worker can do, or this one a little later."""
    return InferloomError(Reason.NO_WORKER, message, retry_after=1.0)
