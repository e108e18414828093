"""Tells what happens to the workers and the registry, by comparing two looks at them. Time is given in."""

from collections.abc import Callable
from typing import NamedTuple

from inferloom.v1 import gateway_pb2 as pb
from inferloom.v1 import registry_pb2
from inferloom_gateway.fleet.members import Fleet, Member
from inferloom_gateway.fleet.membership import Membership
from inferloom_gateway.fleet.tally import FAILURES
from inferloom_gateway.picture.happenings import Happenings, Kind


class _Seen(NamedTuple):
    epoch: int
    state: int
    suspect: bool
    reachable: bool
    ejected: bool
    reason: str
    failing: frozenset[str]
    models: frozenset[str]


class FleetWatch:
    """Notes what changed since it last looked. What was there at its first look did not happen.

    Args:
        fleet: The workers.
        membership: Knows the registry that is followed.
        happenings: Are told.
    """

    def __init__(self, fleet: Fleet, membership: Membership, happenings: Happenings) -> None:
        self._fleet = fleet
        self._membership = membership
        self._happenings = happenings
        self._seen: dict[str, _Seen] | None = None
        self._members: dict[str, Member] = {}
        self._followed = ""
        self._frozen = ""

    def look(self, now: float, at: float) -> None:
        """Look; ``now`` is the gateway's clock, ``at`` the same moment in seconds since 1970."""
        self._look_at_registry(at)
        members = {member.id: member for member in self._fleet.members()}
        seen = {name: _see(member, now) for name, member in members.items()}
        before, self._seen = self._seen, seen if self._fleet.settled else None
        former, self._members = self._members, members
        if before is None:
            return
        for name in before.keys() - seen.keys():
            reason = "expired" if former[name].expired else "given_back"
            self._happenings.add(pb.HAPPENING_KIND_WORKER_LEFT, at, worker=name, reason=reason)
        for name, one in seen.items():
            for kind, reason in _changes(before.get(name), one):
                self._happenings.add(kind, at, worker=name, reason=reason)
            if (old := before.get(name)) is not None:
                self._models(name, old.models, one.models, at)
                self._failing(name, old, one, at)

    def _models(self, worker: str, before: frozenset[str], now: frozenset[str], at: float) -> None:
        for model in sorted(now - before):
            self._happenings.add(pb.HAPPENING_KIND_MODEL_CAME, at, worker=worker, model=model)
        for model in sorted(before - now):
            self._happenings.add(pb.HAPPENING_KIND_MODEL_LEFT, at, worker=worker, model=model)

    def _failing(self, worker: str, before: _Seen, now: _Seen, at: float) -> None:
        for model in sorted(now.failing - before.failing):
            self._happenings.add(
                pb.HAPPENING_KIND_WORKER_EJECTED, at, worker=worker, model=model, reason=FAILURES
            )
        for model in sorted((before.failing - now.failing) & now.models):
            self._happenings.add(pb.HAPPENING_KIND_WORKER_BACK, at, worker=worker, model=model)

    def _look_at_registry(self, at: float) -> None:
        add: Callable[..., None] = self._happenings.add
        followed = str(self._membership.followed or "")
        if followed != self._followed:
            if not followed:
                add(pb.HAPPENING_KIND_REGISTRY_LOST, at, reason=self._followed)
            elif self._seen is not None:
                add(pb.HAPPENING_KIND_REGISTRY_BACK, at, reason=followed)
            self._followed = followed
        if (frozen := self._fleet.frozen) != self._frozen:
            if bool(frozen) != bool(self._frozen):
                kind = pb.HAPPENING_KIND_REGISTRY_FROZEN if frozen else pb.HAPPENING_KIND_REGISTRY_THAWED
                add(kind, at)
            self._frozen = frozen


def _see(member: Member, now: float) -> _Seen:
    health = member.health
    return _Seen(
        member.epoch,
        member.state,
        member.suspect_since is not None,
        health.reachable,
        health.ejected(now),
        health.own.reason,
        frozenset(member.failing(now)),
        frozenset(member.models),
    )


def _changes(old: _Seen | None, new: _Seen) -> list[tuple[Kind, str]]:
    """What happened to a worker, and why."""
    found: list[tuple[Kind, str]] = []
    if old is None or old.epoch != new.epoch:
        found.append((pb.HAPPENING_KIND_WORKER_CAME, ""))
    if old is None or old.state != new.state:
        if new.state == registry_pb2.WORKER_STATE_READY:
            found.append((pb.HAPPENING_KIND_WORKER_READY, ""))
        elif new.state == registry_pb2.WORKER_STATE_DRAINING:
            found.append((pb.HAPPENING_KIND_WORKER_DRAINING, ""))
    if old is None:
        return found
    if old.suspect != new.suspect:
        kind = pb.HAPPENING_KIND_LEASE_SUSPECT if new.suspect else pb.HAPPENING_KIND_LEASE_GOOD
        found.append((kind, ""))
    if old.reachable != new.reachable:
        there, away = pb.HAPPENING_KIND_WORKER_REACHABLE, pb.HAPPENING_KIND_WORKER_UNREACHABLE
        found.append((there if new.reachable else away, ""))
    if old.ejected != new.ejected:
        out, back = pb.HAPPENING_KIND_WORKER_EJECTED, pb.HAPPENING_KIND_WORKER_BACK
        found.append((out, new.reason) if new.ejected else (back, ""))
    return found
