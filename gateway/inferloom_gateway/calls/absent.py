"""What to say of a model that no worker can be asked for."""

from inferloom_gateway.fleet.members import Fleet
from inferloom_mesh.errors import InferloomError, Reason, shown
from inferloom_mesh.suggestion import model_not_found

RETRY_AFTER_S = 1.0
LOADING_RETRY_AFTER_S = 5.0


def absent(fleet: Fleet, model: str, now: float) -> InferloomError:
    """The error for a model without a usable worker. It says that the model does not exist only where that is
    known: not before the registry's whole set was heard, nor while a worker may be loading it."""
    may_come = fleet.may_come(model)
    if fleet.knows(model, now) and not may_come:
        return _no_worker(f"No worker can take requests for the model '{shown(model)}' now.")
    if fleet.frozen and not may_come:
        return _no_worker("The registry has lost its store and cannot say which models there are now.")
    if not fleet.settled:
        return _no_worker("The gateway has not yet heard from its registry which models there are.")
    if may_come:
        return _no_worker(f"The model '{shown(model)}' is still being loaded.", LOADING_RETRY_AFTER_S)
    return model_not_found(model, (each.id for each in fleet.models()))


def _no_worker(message: str, retry_after: float = RETRY_AFTER_S) -> InferloomError:
    return InferloomError(Reason.NO_WORKER, message, retry_after=retry_after)
