"""What happened lately: a bounded ring, in which what happens many times at once stands once. Pure; time is
given in."""

from collections import deque
from collections.abc import Iterable
from typing import TypeAlias

from inferloom.v1 import gateway_pb2 as pb

MOST = 256
"""Happenings that are kept, and told."""

KEPT_S = 3600.0
"""How long they are."""

TOGETHER_S = 5.0
"""What happens again within so many seconds is counted with the first."""

_LOOKED_AT = 32

Kind: TypeAlias = "pb.HappeningKind.ValueType"

OF_GATEWAYS = frozenset(
    {
        pb.HAPPENING_KIND_WORKER_UNREACHABLE,
        pb.HAPPENING_KIND_WORKER_REACHABLE,
        pb.HAPPENING_KIND_WORKER_EJECTED,
        pb.HAPPENING_KIND_WORKER_BACK,
        pb.HAPPENING_KIND_REGISTRY_LOST,
        pb.HAPPENING_KIND_REGISTRY_BACK,
    }
)
"""What each process of a gateway sees by itself, and which is told once for the gateway."""

OF_SEVERAL = frozenset(
    {
        pb.HAPPENING_KIND_WORKER_CAME,
        pb.HAPPENING_KIND_WORKER_LEFT,
        pb.HAPPENING_KIND_WORKER_READY,
        pb.HAPPENING_KIND_WORKER_DRAINING,
        pb.HAPPENING_KIND_LEASE_SUSPECT,
        pb.HAPPENING_KIND_LEASE_GOOD,
        pb.HAPPENING_KIND_MODEL_CAME,
        pb.HAPPENING_KIND_MODEL_LEFT,
        pb.HAPPENING_KIND_REGISTRY_FROZEN,
        pb.HAPPENING_KIND_REGISTRY_THAWED,
    }
)
"""What every gateway hears of from the registry."""


class Happenings:
    """The last ones that a gateway process saw.

    Args:
        gateway: Its name.
    """

    def __init__(self, gateway: str = "") -> None:
        self.gateway = gateway
        self._ring: deque[pb.Happening] = deque(maxlen=MOST)

    def add(
        self,
        kind: Kind,
        at: float,
        *,
        worker: str = "",
        to_worker: str = "",
        model: str = "",
        request_id: str = "",
        reason: str = "",
        tokens: int = 0,
    ) -> None:
        """Note one; ``at`` is in seconds since 1970."""
        for other in list(self._ring)[: -_LOOKED_AT - 1 : -1]:
            same = (other.kind, other.worker, other.to_worker, other.model, other.reason)
            if (kind, worker, to_worker, model, reason) == same:
                if abs(at - moment(other)) > TOGETHER_S:
                    break
                other.count += 1
                other.tokens = 0
                if other.request_id != request_id:
                    other.request_id = ""
                return
        one = pb.Happening(
            kind=kind,
            gateway=self.gateway,
            worker=worker,
            to_worker=to_worker,
            model=model,
            request_id=request_id,
            count=1,
            reason=reason,
            tokens=tokens,
        )
        one.at.FromNanoseconds(round(at * 1e9))
        self._ring.append(one)

    def read(self, now: float) -> list[pb.Happening]:
        """Those that are not too old, oldest first; ``now`` in seconds since 1970."""
        return sorted((one for one in self._ring if now - moment(one) <= KEPT_S), key=moment)


def moment(happening: pb.Happening) -> float:
    """When it was, in seconds since 1970."""
    return happening.at.seconds + happening.at.nanos / 1e9


def merged(several: Iterable[pb.Happening]) -> list[pb.Happening]:
    """What several processes saw, oldest first. What all gateways heard of stands once, and for no gateway;
    what several processes of one saw stands once for that."""
    told: list[pb.Happening] = []
    known: dict[tuple[object, ...], pb.Happening] = {}
    for one in sorted(several, key=moment):
        if one.kind in OF_SEVERAL or one.kind in OF_GATEWAYS:
            whose = one.gateway if one.kind in OF_GATEWAYS else ""
            key = (one.kind, one.worker, one.model, one.reason, whose)
            first = known.get(key)
            if first is not None and moment(one) - moment(first) <= TOGETHER_S:
                if first.gateway != one.gateway:
                    first.gateway = ""
                first.count = max(first.count, one.count)
                continue
            copy = pb.Happening()
            copy.CopyFrom(one)
            known[key] = one = copy
        told.append(one)
    return told[-MOST:]
