"""Which requests have ended workers, told apart by what they ask. Pure; the clock is given in."""

import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from hashlib import blake2b
from typing import Any, NamedTuple, Protocol

KEPT_S = 600.0
"""How long a loss is remembered."""

BARRED_S = 30.0
"""How long a request is not tried that two workers were lost with; twice as long with each further one."""

LONGEST_BARRED_S = 480.0

PAROLE_S = 10.0
"""How long no other is let in, where one was let in when its time was over."""

MOST_LOSSES = 2
"""Workers that may be lost with a request on them; one that saw as many may be what ends them."""

MOST_OF_TENANT = 256
"""Requests of one tenant that are remembered."""

MOST = 4096
"""Requests of all tenants that are remembered, and losses that wait to be shared."""

_MOST_WORKERS = 8
_OWN_FIELDS = ("request_id", "resume")


class Loss(NamedTuple):
    """A worker that was lost with a request, as the processes of all gateways tell each other."""

    tenant: str
    digest: bytes
    """Of what was asked."""
    worker: str
    """Its name and epoch. Empty: the request is acquitted of all losses."""
    at: float
    """When, in seconds since 1970."""


class LedgerAwayError(Exception):
    """What is shared cannot be reached."""


class Ledger(Protocol):
    """Where gateways share losses. Its methods raise :class:`LedgerAwayError`."""

    async def write(self, losses: Sequence[Loss]) -> None:
        """Add losses, and remove those of the acquitted."""

    async def read(self) -> Sequence[Loss]:
        """All that are not too old, at most some thousands."""


def digest(request: Any) -> bytes:
    """What tells a message that asks for something from others, whatever it is called."""
    asked = type(request)()
    asked.CopyFrom(request)
    for name in _OWN_FIELDS:
        if name in asked.DESCRIPTOR.fields_by_name:
            asked.ClearField(name)
    data = asked.SerializeToString(deterministic=True)
    return blake2b(data, digest_size=16, person=asked.DESCRIPTOR.name[:16].encode()).digest()


class Poison:
    """Remembers which workers were lost with which requests of a tenant. Those of one say nothing about
    another's.

    A request that is asked again begins with the losses of before: with one it is a suspect, with two it is
    not tried for a while, and then one at a time, which may end one worker more. It is acquitted by its first
    token while it has one loss, and by its last one later.

    Args:
        clock: Seconds since 1970.
    """

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self._of: dict[str, dict[bytes, dict[str, float]]] = {}
        """By tenant, by request, when each worker was lost with it."""
        self._paroled: dict[tuple[str, bytes], float] = {}
        self.unshared: deque[Loss] = deque(maxlen=MOST)
        """What the others have not been told."""

    def concerns(self, tenant: str) -> bool:
        """Whether anything is remembered of a tenant. Where nothing is, no request has to be looked at."""
        return tenant in self._of

    def standing(self, tenant: str, request: bytes) -> tuple[int, float]:
        """How many workers were lost with a request that is to begin, and in how many seconds it may."""
        now = self._clock()
        lost = self._of.get(tenant, {}).get(request)
        if lost is None:
            return 0, 0.0
        last = max(lost.values())
        if now - last > KEPT_S:
            self._drop(tenant, request)
            return 0, 0.0
        if len(lost) < MOST_LOSSES:
            return len(lost), 0.0
        until = last + min(BARRED_S * 2 ** (len(lost) - MOST_LOSSES), LONGEST_BARRED_S)
        until = max(until, self._paroled.get((tenant, request), 0.0))
        if now < until:
            return len(lost), until - now
        self._paroled[tenant, request] = now + PAROLE_S
        return len(lost), 0.0

    def lost(self, tenant: str, request: bytes, workers: Iterable[str]) -> int:
        """Note that workers were lost with a request; how many there are now."""
        now = self._clock()
        for worker in workers:
            self._note(Loss(tenant, request, worker, now))
            self.unshared.append(Loss(tenant, request, worker, now))
        if sum(map(len, self._of.values())) > MOST:
            first = next(iter(self._of))
            self._drop(first, next(iter(self._of[first])))
        return len(self._of.get(tenant, {}).get(request, ()))

    def acquit(self, tenant: str, request: bytes, *, most: int = MOST) -> None:
        """Forget what is held against a request, if that is at most so many losses."""
        lost = self._of.get(tenant, {}).get(request)
        if lost is not None and len(lost) <= most:
            self._drop(tenant, request)
            self.unshared.append(Loss(tenant, request, "", self._clock()))

    def hear(self, losses: Iterable[Loss]) -> None:
        """Know what all know, and what they have not been told. A time in the future is taken for now."""
        now = self._clock()
        self._of.clear()
        for loss in (*losses, *self.unshared):
            if not loss.worker:
                self._drop(loss.tenant, loss.digest)
            elif now - loss.at <= KEPT_S:
                self._note(loss._replace(at=min(loss.at, now)))
        held = {(tenant, request) for tenant, requests in self._of.items() for request in requests}
        self._paroled = {key: until for key, until in self._paroled.items() if key in held}

    def expire(self) -> None:
        """Forget what is too old."""
        now = self._clock()
        old = [
            (tenant, request)
            for tenant, requests in self._of.items()
            for request, lost in requests.items()
            if now - max(lost.values()) > KEPT_S
        ]
        for each in old:
            self._drop(*each)

    def _note(self, loss: Loss) -> None:
        requests = self._of.setdefault(loss.tenant, {})
        lost = requests.pop(loss.digest, {})
        requests[loss.digest] = lost  # the latest come last
        lost[loss.worker] = loss.at
        if len(lost) > _MOST_WORKERS:
            del lost[min(lost, key=lost.__getitem__)]
        if len(requests) > MOST_OF_TENANT:
            del requests[next(iter(requests))]

    def _drop(self, tenant: str, request: bytes) -> None:
        requests = self._of.get(tenant, {})
        requests.pop(request, None)
        if not requests:
            self._of.pop(tenant, None)
