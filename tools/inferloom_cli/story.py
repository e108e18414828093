"""One request's story in words for people, from its record. Pure."""

from collections.abc import Iterator
from typing import NamedTuple

from google.protobuf.duration_pb2 import Duration

from inferloom.v1 import gateway_pb2 as pb
from inferloom_cli.happening_words import cause
from inferloom_mesh.durations import seconds

_ENDS = {
    pb.REQUEST_STATE_RUNNING: "still runs",
    pb.REQUEST_STATE_DONE: "was answered",
    pb.REQUEST_STATE_FAILED: "failed",
    pb.REQUEST_STATE_CANCELLED: "was given up",
}
_FEW = 6
"""Candidates that are named."""


class Line(NamedTuple):
    """What happened at a moment."""

    at_s: float
    """Seconds after the request's arrival."""
    text: str
    bad: bool = False


class Part(NamedTuple):
    """Where some of the time went."""

    name: str
    seconds: float


def headline(record: pb.RequestRecord, now: float) -> str:
    """What became of it, in a sentence; ``now`` in seconds since 1970."""
    words = _ENDS.get(record.state, "is in a state that this version does not know")
    if record.HasField("ended"):
        return f"{words} after {span(seconds(record.ended))}"
    since = max(0.0, now - record.arrived_at.ToNanoseconds() / 1e9)
    return f"{words}, for {span(since)} now"


def story(record: pb.RequestRecord) -> list[Line]:
    """All that happened, in order."""
    return sorted(_lines(record), key=lambda line: line.at_s)


def parts(record: pb.RequestRecord) -> list[Part]:
    """Where its time went, as far as is known; of several parts that ran side by side, of the longest."""
    found = []
    if record.HasField("dispatched"):
        before = seconds(record.dispatched)
        lined_up = seconds(record.lined_up) if record.HasField("lined_up") else before
        found.append(Part("reading and admission", min(lined_up, before)))
        found.append(Part("the gateway's line", max(0.0, before - lined_up)))
    for attempt in record.attempts:
        if attempt.HasField("error") and attempt.HasField("ended"):
            lost = seconds(attempt.ended) - seconds(attempt.began)
            found.append(Part(f"{attempt.worker} until it failed", lost))
    if record.HasField("queue"):
        found.append(Part("the engine's queue", seconds(record.queue)))
    if record.HasField("prefill"):
        found.append(Part("reading the prompt", seconds(record.prefill)))
    if record.HasField("decode"):
        found.append(Part("generating", seconds(record.decode)))
    return [part for part in found if part.seconds >= 5e-5]


def _lines(record: pb.RequestRecord) -> Iterator[Line]:
    yield Line(0.0, _arrival(record))
    if record.HasField("admission"):
        told = record.admission
        if told.counted_in:
            reserved = f", which reserved {told.reserved_tokens} tokens" if told.reserved_tokens else ""
            yield Line(1e-9, f"counted in the limits of {', '.join(told.counted_in)}{reserved}")
    if record.HasField("lined_up"):
        yield Line(seconds(record.lined_up), "waited at the gateway: every worker of the model was full")
    left_out = record.attempt_count - len(record.attempts)
    if left_out > 0:
        yield Line(1e-9, f"({left_out} earlier calls to workers are not remembered)")
    for number, attempt in enumerate(record.attempts, 1 + max(0, left_out)):
        yield from _attempt(record, attempt, number)
    for number, move in enumerate(record.moves, 1):
        came = f" from {move.from_worker}" if move.from_worker else ""
        why = f": {cause(move.reason)}" if move.reason else ""
        held = f"behind the {move.tokens} tokens that its caller had{why}"
        there = f"; {_reading(record)}" if number == len(record.moves) and _reading(record) else ""
        yield Line(_at(move.at), f"went on{came} at {move.to_worker}, {held}{there}")
    if record.HasField("first_token"):
        yield Line(seconds(record.first_token), f"the first token came{_before_it(record)}")
    if record.HasField("ended"):
        yield _end(record)


def _arrival(record: pb.RequestRecord) -> str:
    who = f"from {record.caller}" if record.caller else "from somebody"
    if record.key_id:
        who += f" with the key {record.key_id}"
    if record.tenant:
        who += f" of the tenant {record.tenant}"
    text = f"came {who}: {record.method}, model {record.model}"
    if record.HasField("budget"):
        text += f"; it had {span(seconds(record.budget))}"
    return text


def _attempt(record: pb.RequestRecord, attempt: pb.AttemptRecord, number: int) -> Iterator[Line]:
    which = "" if number == 1 else f"call {number}: "
    yield Line(
        _at(attempt.began),
        f"{which}sent to {attempt.worker} (epoch {attempt.epoch}), {_choice(record, attempt)}",
    )
    if attempt.HasField("accepted") and not _moved(record, attempt):
        yield Line(_at(attempt.accepted), f"{attempt.worker} accepted it")
    if attempt.HasField("error"):
        error = attempt.error
        words = cause(attempt.cause or error.reason.lower())
        accepted = "" if attempt.HasField("accepted") else " before it had accepted"
        yield Line(
            _at(attempt.ended), f"{attempt.worker} failed{accepted}: {words} ({_error(error)})", bad=True
        )


def _choice(record: pb.RequestRecord, attempt: pb.AttemptRecord) -> str:
    """Why that worker, as far as the candidates tell."""
    candidates = attempt.candidates
    if not candidates:
        return "chosen by the router"
    if len(candidates) == 1:
        return f"the only worker that came into question (load {candidates[0].load:.2f})"
    shown = ", ".join(f"{each.worker} {each.load:.2f}" for each in candidates[:_FEW])
    if len(candidates) > _FEW:
        shown += f" and {len(candidates) - _FEW} more"
    place = next((i for i, each in enumerate(candidates) if each.worker == attempt.worker), None)
    if record.method != "generate":
        why = "which had the least to do"
    elif place == 0:
        why = "the first in the order for its prompt"
    elif place is not None and candidates[place].load <= min(each.load for each in candidates[:place]):
        why = "less busy than those before it in the order for its prompt"
    else:
        why = "the first with room in the order for its prompt"
    return f"{why} (loads, of which 1 is full: {shown})"


def _moved(record: pb.RequestRecord, attempt: pb.AttemptRecord) -> bool:
    """Whether a call went on with what another one had begun."""
    began, accepted = seconds(attempt.began), seconds(attempt.accepted)
    return any(
        move.to_worker == attempt.worker and began <= seconds(move.at) <= accepted for move in record.moves
    )


def _before_it(record: pb.RequestRecord) -> str:
    """What the worker did before the first token; of a request that moved, only the last one has told."""
    reading = "" if record.moves else _reading(record)
    return f": {reading}" if reading else ""


def _reading(record: pb.RequestRecord) -> str:
    """How long its last worker took before it went on generating."""
    told = []
    if record.HasField("queue"):
        told.append(f"{span(seconds(record.queue))} in the engine's queue")
    if record.HasField("prefill"):
        cached = f", {record.cached_prompt_tokens} of them cached" if record.cached_prompt_tokens else ""
        told.append(f"{record.prompt_tokens} prompt tokens read in {span(seconds(record.prefill))}{cached}")
    return "; ".join(told)


def _end(record: pb.RequestRecord) -> Line:
    at = seconds(record.ended)
    if record.state == pb.REQUEST_STATE_FAILED:
        held = f"; its caller had {record.delivered} tokens" if record.delivered else ""
        return Line(at, f"failed: {_error(record.error)}{held}", bad=True)
    if record.state == pb.REQUEST_STATE_CANCELLED:
        held = (
            f"with {record.delivered} tokens delivered" if record.delivered else "before there was an answer"
        )
        return Line(at, f"its caller left, or a drain cut it off, {held}", bad=True)
    if record.method != "generate":
        return Line(at, "was answered")
    count = record.completion_tokens or record.delivered
    text = f"was answered with {count} tokens"
    spent = at - seconds(record.first_token) if record.HasField("first_token") else 0.0
    if count > 1 and spent > 0:
        text += f", {(count - 1) / spent:.0f} a second"
    return Line(at, text)


def _error(error: pb.RecordedError) -> str:
    text = error.reason
    if error.param:
        text += f", field {error.param}"
    if error.message:
        text += f": {error.message}"
    return text


def _at(moment: Duration) -> float:
    return seconds(moment)


def span(value: float) -> str:
    """A time in at most four digits: ``0.3 ms``, ``41 ms``, ``1.28 s``, ``2 min 5 s``."""
    if value < 0.0095:
        return f"{value * 1e3:.1f} ms"
    if value < 0.9995:
        return f"{value * 1e3:.0f} ms"
    if value < 99.95:
        return f"{value:.2f} s" if value < 9.995 else f"{value:.1f} s"
    minutes, left = divmod(round(value), 60)
    if minutes < 120:
        return f"{minutes} min" + (f" {left} s" if left else "")
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h" + (f" {minutes} min" if minutes else "")
