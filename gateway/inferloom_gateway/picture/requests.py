"""Counts a gateway's requests for the picture, and keeps those that run."""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from inferloom.v1 import gateway_pb2 as pb
from inferloom_gateway.calls.listener import Listener
from inferloom_gateway.calls.records import Attempt, Move, Record
from inferloom_gateway.fleet.members import Fleet
from inferloom_gateway.picture.activity import Recent
from inferloom_gateway.picture.happenings import Happenings
from inferloom_mesh.access_line import error_name
from inferloom_mesh.errors import Reason

_GENERATE = "generate"

_USUAL = frozenset({Reason.SERVER_OVERLOADED, Reason.WAIT_TOO_LONG})
"""Why a request is tried elsewhere every day: the first worker was full."""


@dataclass(slots=True)
class _Run:
    record: Record
    recent: Recent | None
    """Of its model; None: no worker had it when the request came."""
    counted: int = 0
    """How many of its tokens have been counted."""


class Requests(Listener):
    """What is done of late, in all and by model, and what happened to requests.

    A request costs a few additions. Tokens are read from the records of those that run once a second, so that
    they cost nothing when they come.

    Args:
        fleet: Knows the models: what callers make up is counted in all, and for no model.
        happenings: Are told of moves, retries and failures.
        clock: Monotonic seconds.
    """

    def __init__(self, fleet: Fleet, happenings: Happenings, clock: Callable[[], float]) -> None:
        self.all = Recent()
        self.models: dict[str, Recent] = {}
        self.totals = pb.Totals()
        self._fleet = fleet
        self._happenings = happenings
        self._clock = clock
        self._running: dict[int, _Run] = {}
        """By the identity of their records."""

    def running(self) -> Iterator[Record]:
        """Those that run, oldest first."""
        return (run.record for run in self._running.values())

    def look(self, now: float) -> None:
        """Count the tokens that came since the last look, and forget models that nobody has."""
        for run in self._running.values():
            self._count_tokens(run, now)
        for model in [name for name in self.models if not self._fleet.knows(name, now)]:
            if not self.models[model].running:
                del self.models[model]

    def on_started(self, record: Record) -> None:
        """Note one that runs."""
        recent = self._of(record)
        self._running[id(record)] = _Run(record, recent)
        self.all.running += 1
        if recent is not None:
            recent.running += 1

    def on_attempt(self, record: Record, attempt: Attempt) -> None:
        """Tell of a request that was tried at another worker."""
        if not attempt.again:
            return
        self.totals.retries += 1
        if any(move.went_to == attempt.worker and move.at_s >= attempt.began_s for move in record.moves):
            return
        before = [each for each in record.attempts if each.error is not None and each is not attempt]
        if not before or (before[-1].error is not None and before[-1].error.reason in _USUAL):
            return
        self._happenings.add(
            pb.HAPPENING_KIND_REQUEST_RETRIED,
            record.began_at + attempt.began_s,
            worker=before[-1].worker,
            to_worker=attempt.worker,
            model=record.model,
            request_id=record.context.request_id,
            reason=before[-1].why,
        )

    def on_moved(self, record: Record, move: Move) -> None:
        """Tell of a move."""
        self.totals.moves += 1
        self._happenings.add(
            pb.HAPPENING_KIND_REQUEST_MOVED,
            time.time(),
            worker=move.left,
            to_worker=move.went_to,
            model=record.model,
            request_id=record.context.request_id,
            reason=move.why,
            tokens=move.tokens,
        )

    def on_ended(self, record: Record) -> None:
        """Count a request that is over."""
        run = self._running.pop(id(record), None)
        if run is None:
            return
        now, totals = self._clock(), self.totals
        self._count_tokens(run, now)
        for recent in (self.all, run.recent):
            if recent is not None:
                recent.running -= 1
                _count(recent, record, now)
        totals.requests += 1
        totals.failures += record.error is not None
        totals.cancelled += record.cancelled
        totals.prompt_tokens += record.prompt_tokens
        if record.method == _GENERATE:
            totals.completion_tokens += record.completion_tokens or record.delivered
        if record.error is not None and record.error.row.http >= 500:
            self._happenings.add(
                pb.HAPPENING_KIND_REQUEST_FAILED,
                time.time(),
                worker=record.worker,
                model="" if run.recent is None else record.model,
                request_id=record.context.request_id,
                reason=error_name(record.error),
                tokens=record.delivered,
            )

    def _of(self, record: Record) -> Recent | None:
        model = record.model
        recent = self.models.get(model)
        if recent is None and self._fleet.holding(model):
            recent = self.models[model] = Recent()
        return recent

    def _count_tokens(self, run: _Run, now: float) -> None:
        record = run.record
        if record.method != _GENERATE or (new := record.delivered - run.counted) <= 0:
            return
        run.counted = record.delivered
        self.all.tokens.add(new, now)
        if run.recent is not None:
            run.recent.tokens.add(new, now)


def _count(recent: Recent, record: Record, now: float) -> None:
    recent.requests.add(1, now)
    if record.error is not None:
        recent.failures.add(1, now)
    elif not record.cancelled and record.ended_s is not None:
        recent.total.add(record.ended_s, now)
    if record.method == _GENERATE and record.first_token_s is not None:
        recent.first.add(record.first_token_s, now)
        if record.delivered > 1 and record.frames > 1:
            spent = (record.ended_s or record.first_token_s) - record.first_token_s
            recent.token.add(max(0.0, spent) / (record.delivered - 1), now)
