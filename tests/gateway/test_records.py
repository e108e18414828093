"""The records of requests, and who is told of them."""

from inferloom_gateway.calls.listener import Listener, Listeners
from inferloom_gateway.calls.records import Attempt, Record, Records
from inferloom_mesh.context import CallContext
from inferloom_mesh.errors import InferloomError, Reason


def record(name: str) -> Record:
    """A record of a request."""
    return Record(CallContext(name), "generate", "m", 0.0)


def test_the_last_requests_are_kept() -> None:
    """The oldest go; the newest of one name is found."""
    records = Records(2)
    made = [record("a"), record("b"), record("b")]
    for one in made:
        records.on_ended(one)
    assert list(records) == made[1:]
    assert records.find("b") is made[2]
    assert records.find("a") is None


def test_only_those_that_listen_to_frames_are_told_of_them() -> None:
    """All others cost a frame nothing."""
    told: list[tuple[str, int]] = []

    class Frames(Listener):
        def on_frame(self, record: Record, count: int) -> None:
            told.append((record.context.request_id, count))

    listeners = Listeners()
    listeners.add(Records(1))
    listeners.add(Frames())
    listeners.on_frame(record("a"), 3)
    assert told == [("a", 3)]
    (only,) = listeners.frame_listeners
    only.on_frame(record("b"), 1)
    assert told == [("a", 3), ("b", 1)]
    assert only.frame_listeners == (only,)
    assert not Records(1).frame_listeners


def test_a_record_keeps_nothing_of_its_request() -> None:
    """An error that was raised holds the frames that it went through; the one that is kept does not."""
    records = Records(2)
    try:
        raise InferloomError(Reason.INVALID_ARGUMENT, "No.", param="n", retry_after=2.0)
    except InferloomError as raised:
        failure = raised
    tried = Attempt("w", 1, (), 0.0, error=failure)
    one = Record(CallContext("r"), "generate", "m", 0.0, attempts=[tried], error=failure)
    records.on_ended(one)
    for kept in (one.error, tried.error):
        assert kept is not None
        assert kept.__traceback__ is None
        assert (kept.reason, kept.message, kept.param, kept.retry_after) == (
            Reason.INVALID_ARGUMENT, "No.", "n", 2.0,
        )  # fmt: skip
        assert str(kept) == "No."
