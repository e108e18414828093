"""Which requests may be what ends workers, and so go to them one at a time. Pure; time is given in."""

from collections.abc import Hashable

FRESH_S = 0.25
"""How long a worker is kept to one suspect, if that has not got a token before."""

TAKEN_S = 0.1
"""How long a worker is left alone that another process has given a suspect."""

DEATH_S = 15.0
"""In which time the calls of a lost worker find out that it was."""


class Suspects:
    """A request that was on a worker when it was lost is a suspect until it has got a token elsewhere.

    A worker gets one suspect at a time, so that if it is lost as well, it is known which request did it: only
    the suspects on it are blamed then, and all that were on it where there was none.
    """

    def __init__(self) -> None:
        self._on: dict[Hashable, dict[Hashable, float]] = {}
        """By worker, its suspects and when they came."""
        self._where: dict[Hashable, Hashable] = {}
        self._blamed: dict[Hashable, tuple[float, frozenset[Hashable]]] = {}
        """By lost worker, when the first of its calls found out and who was suspect then."""
        self._taken: dict[Hashable, float] = {}
        """By worker, until when another process has a suspect there."""

    def may_take(self, worker: Hashable, now: float, request: Hashable = None) -> bool:
        """Whether a worker can be given a suspect, which may be noted there itself."""
        if self._taken.get(worker, now) > now:
            return False
        there = self._on.get(worker, {}).items()
        return all(now - since >= FRESH_S for each, since in there if each is not request)

    def taken(self, worker: Hashable, now: float) -> None:
        """Note that another process has just given a worker a suspect."""
        self._taken = {each: until for each, until in self._taken.items() if until > now}
        self._taken[worker] = now + TAKEN_S

    def enter(self, worker: Hashable, request: Hashable, now: float) -> None:
        """Note that a suspect goes to a worker."""
        self.leave(request)
        self._on.setdefault(worker, {})[request] = now
        self._where[request] = worker

    def leave(self, request: Hashable) -> None:
        """Note that a request is no suspect any more, or not there. One that is none changes nothing."""
        worker = self._where.pop(request, None)
        if worker is None:
            return
        there = self._on[worker]
        del there[request]
        if not there:
            del self._on[worker]

    def lost(self, worker: Hashable, request: Hashable, now: float, *, others: bool = False) -> bool:
        """Note that a worker was lost with a request on it; whether that counts against the request.
        ``others``: whether other processes had suspects there."""
        self._blamed = {each: found for each, found in self._blamed.items() if now - found[0] < DEATH_S}
        if worker not in self._blamed:
            self._blamed[worker] = now, frozenset(self._on.get(worker, ()))
        _, blamed = self._blamed[worker]
        self.leave(request)
        return request in blamed or not (blamed or others)
