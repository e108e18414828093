"""Whose turn it is when several tenants wait.

Virtual token counters after Sheng et al., "Fairness in Serving Large Language Models" (OSDI 2024): each
tenant is charged for the tokens that it was served, divided by its share, and the least charged goes first. A
tenant that comes back from idleness starts level with the others, so that nobody saves up a right to block
them.
"""

from collections import Counter
from collections.abc import Iterable

from inferloom_worker.stepping.sequence import SequenceState

PROMPT_COST, GENERATED_COST = 1, 2
"""What a token is charged: generating takes a step, reading shares one."""


class Fairness:
    """The tenants' counters. Who a tenant is, the worker decides, never the request: one that could choose
    would be a new tenant, level with the least charged, every time."""

    def __init__(self) -> None:
        self._charged: dict[str, float] = {}

    def arrive(self, sequence: SequenceState, present: Iterable[SequenceState]) -> None:
        """Note a new sequence; ``present`` are those that wait or run already."""
        tenant = _tenant(sequence)
        active = {_tenant(other) for other in present}
        self._charged = {
            name: charged for name, charged in self._charged.items() if name in active | {tenant}
        }
        if tenant not in active:
            floor = min((self._charged[name] for name in active), default=0)
            self._charged[tenant] = max(self._charged.get(tenant, 0), floor)

    def charge(self, sequence: SequenceState, count: int) -> None:
        """Note that ``count`` tokens are computed for a sequence, from its first uncomputed one."""
        request = sequence.request
        # What was generated before and is computed again, here or elsewhere, is read like a prompt.
        known = len(sequence.tokens)
        generates = known - sequence.computed == 1 and known > len(request.prompt)
        cost = GENERATED_COST if generates else PROMPT_COST
        self._charged[request.tenant] = self._charged.get(request.tenant, 0) + cost * count / request.share

    def order(
        self, waiting: Iterable[SequenceState], running: Iterable[SequenceState]
    ) -> list[SequenceState]:
        """Whose turn it is, first to last: higher priority, then the least charged tenant, then the first to
        come.

        Of what one tenant has with one priority, that which was begun elsewhere goes before what is new
        until as much of it runs, and then they take turns. That it was is the request's word: nobody comes
        before other tenants by it, nor keeps what is new waiting for long.
        """
        found = sorted(waiting, key=self._turn)
        if len({sequence.moved for sequence in found}) < 2:
            return found
        before = Counter((each.request.priority, _tenant(each), each.moved) for each in running)
        first: dict[tuple[int, str], int] = {}
        keys: dict[SequenceState, tuple[int, float, int, int, bool]] = {}
        for each in found:
            own = priority, tenant = each.request.priority, _tenant(each)
            came = first.setdefault(own, each.arrival)
            ahead = before[*own, each.moved]
            keys[each] = -priority, self._charged.get(tenant, 0), came, ahead, not each.moved
            before[*own, each.moved] += 1
        return sorted(found, key=keys.__getitem__)

    def _turn(self, sequence: SequenceState) -> tuple[int, float, int]:
        return -sequence.request.priority, self._charged.get(_tenant(sequence), 0), sequence.arrival


def _tenant(sequence: SequenceState) -> str:
    return sequence.request.tenant
