"""Telling the end of workers from the end of the way to them.

When more than half of a model's workers fall silent together, the likelier cause is the network or the
registry itself, and removing them all would turn a disturbance into an outage. So they are kept, SUSPECT,
and callers judge them by their own calls.

- A model counts if at least two workers hold it: the silence of a single worker proves nothing about
  others, and it must be able to leave.
- Silent means past the TTL. Removal comes half a TTL later, which is longer than the renewal interval,
  so by the time the first of them is due, all that fell silent together are counted.
- A freeze ends when no more than half are silent: because workers renewed, came back under a new epoch,
  or were joined by others. Those still silent then get another half TTL to come back.
- It ends anyway for a worker that has been silent for ``HOLD_TTLS`` TTLs. Nobody waits that long for a
  worker, and a set that was switched off all at once must not be listed for ever.
"""

import logging
from collections import Counter
from collections.abc import Collection, Iterable, Sequence

from inferloom_registry.lease import SUSPECT_TTLS, Lease

log = logging.getLogger(__name__)


class MassExpiryGuard:
    """Keeps leases that went SUSPECT together, and raises the alarm.

    It looks among the leases that one registry judges: one that lost the way to its own half of the workers
    must not take the other half, which it does not hear, for a sign that the way is good.
    """

    def __init__(self) -> None:
        self.silenced: frozenset[str] = frozenset()
        """The alarm: models of which more than half of the workers fell silent together."""

    def watch(self, judged: Sequence[Lease], now: float) -> None:
        """Look which models are silenced now, and keep the SUSPECT leases of their workers."""
        suspects = [lease for lease in judged if lease.suspect]
        silenced = frozenset(
            silenced_models((lease.models for lease in judged), (lease.models for lease in suspects))
        )
        for lease in suspects:
            if lease.models & silenced:
                lease.kept_until = now + SUSPECT_TTLS * lease.registration.ttl
        for model in sorted(silenced - self.silenced):
            log.error("ALARM: more than half of the workers of %s fell silent together; keeping them", model)
        for model in sorted(self.silenced - silenced):
            log.warning("alarm over: the workers of %s are heard again or gone", model)
        self.silenced = silenced


def silenced_models(
    all_models: Iterable[Collection[str]], silent_models: Iterable[Collection[str]]
) -> set[str]:
    """The models that more than half of their workers, at least two in all, have fallen silent with.

    Args:
        all_models: The models of each worker.
        silent_models: The models of each worker that is past its TTL.
    """
    held = Counter(model for models in all_models for model in models)
    silent = Counter(model for models in silent_models for model in models)
    return {model for model, count in silent.items() if held[model] >= 2 and count * 2 > held[model]}
