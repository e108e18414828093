"""What a failed call to a worker means for the request and for the worker. Pure."""

from dataclasses import dataclass, replace

from inferloom_mesh.errors import InferloomError, Reason, server_error

NOT_NOW_S = 1.0
"""How long a worker that says 'not now' without saying for how long is left alone."""

LONGEST_NOT_NOW_S = 60.0

NOT_LET_IN = "not_let_in"
"""The cause where a worker does not let this gateway in."""

NOT_LET_IN_S = 30.0
"""How long a worker is left alone that does not let this gateway in, unless it starts anew."""

_NOT_NOW = frozenset({Reason.SERVER_OVERLOADED, Reason.NO_WORKER, Reason.MODEL_NOT_FOUND})
"""What a worker says that cannot take a request at present: it is full, draining, loading or unloading."""

_OUT_OF_THE_WAY = frozenset({Reason.NO_WORKER, Reason.MODEL_NOT_FOUND, Reason.WORKER_LOST})
"""What keeps a worker from every request for the model, and not only from as many as it has no room for.
A worker says WORKER_LOST where the model failed, was unloaded, or is drained to the end."""

_LEFT_ALONE = _NOT_NOW | {Reason.WORKER_LOST}
"""What keeps new requests from a worker for a while."""

_UNABLE = frozenset({Reason.NO_WORKER, Reason.WORKER_LOST})

_ELSEWHERE = _LEFT_ALONE | {Reason.WAIT_TOO_LONG}


@dataclass(frozen=True, slots=True)
class Verdict:
    """How one failed call is judged."""

    error: InferloomError
    """What the caller is told, if it is told."""
    elsewhere: bool = False
    """Whether another worker may do better."""
    lost: bool = False
    """Whether the worker is to be left alone until it answers a probe."""
    blamed: bool = False
    """Whether the failure counts against the worker."""
    of_model: bool = False
    """Whether it is the model's own there, and says nothing of the worker's others."""
    not_now_s: float = 0.0
    """Seconds that the worker is to be left alone for this model; 0: it is not."""
    free: bool = False
    """Whether trying elsewhere needs nothing from the retry budget: the worker that failed gets no more
    calls, so such retries cannot become a storm."""
    unable: bool = False
    """Whether the worker said itself that it cannot serve the model, which the registry may tell later."""
    suspect: bool = False
    """Whether the request may be what ended the worker, if that had it."""
    cause: str = ""
    """In a word, what happened, where the error does not say it all."""

    @property
    def again_s(self) -> float:
        """In how many seconds the request may ask this worker once more; 0: it may not. One that it may have
        ended it does not."""
        return 0.0 if self.suspect else self.not_now_s


def refused(error: InferloomError) -> Verdict:
    """The worker answered with an error of its own choice."""
    not_now_s = 0.0
    if error.reason in _LEFT_ALONE:
        not_now_s = min(error.retry_after or NOT_NOW_S, LONGEST_NOT_NOW_S)
    return Verdict(
        error,
        elsewhere=error.reason in _ELSEWHERE,
        blamed=error.reason is Reason.SERVER_ERROR,  # who says that a model is lost says it to all
        of_model=True,
        not_now_s=not_now_s,
        free=error.reason in _OUT_OF_THE_WAY,
        unable=error.reason in _UNABLE,
        suspect=error.reason is Reason.WORKER_LOST,
    )


def not_let_in() -> Verdict:
    """The worker takes no calls of this gateway: it knows another secret, say. That is the mesh's affair, and
    none of the caller's."""
    return Verdict(
        InferloomError(Reason.NO_WORKER, "A worker takes no calls of this gateway.", retry_after=NOT_NOW_S),
        elsewhere=True,
        not_now_s=NOT_LET_IN_S,
        free=True,
        unable=True,
        cause=NOT_LET_IN,
    )


def lost() -> Verdict:
    """The connection broke, or could not be made."""
    return Verdict(
        worker_lost(), elsewhere=True, lost=True, blamed=True, free=True, suspect=True, cause="disconnected"
    )


def cut() -> Verdict:
    """The worker has ended the stream that carried the call with others. It is there, and died of none."""
    return Verdict(worker_lost(), elsewhere=True, blamed=True, free=True, cause="disconnected")


def broken() -> Verdict:
    """The worker is there, and failed without an error of its own, or ended its stream too early."""
    return Verdict(worker_lost(), elsewhere=True, blamed=True, cause="broken")


def stalled() -> Verdict:
    """The worker has been silent for longer than its slowest steps explain."""
    return Verdict(
        worker_lost(), elsewhere=True, lost=True, blamed=True, free=True, suspect=True, cause="stalled"
    )


def expired() -> Verdict:
    """The worker's lease ran out before it had begun to answer."""
    return Verdict(worker_lost(), elsewhere=True, free=True, cause="lease_expired")


def overdue(error: InferloomError) -> Verdict:
    """The request's time was over, and the worker had not said so itself."""
    return Verdict(error, blamed=True)


def other(error: InferloomError) -> Verdict:
    """The transport refused the call itself, because it is too large, say."""
    return Verdict(error)


def bug() -> Verdict:
    """This gateway could not do with an event what it should."""
    return Verdict(server_error())


def differs() -> Verdict:
    """The worker computes differently from the one that answered another part of the request."""
    return Verdict(worker_lost(), elsewhere=True, free=True, cause="computes_differently")


def unblamed(verdict: Verdict) -> Verdict:
    """The same, with nothing held against the worker."""
    return replace(verdict, blamed=False)


def worker_lost() -> InferloomError:
    """The error for a worker that went away while it was answering."""
    return InferloomError(Reason.WORKER_LOST, "The worker that was answering was lost.", retry_after=1.0)
