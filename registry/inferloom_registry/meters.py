"""The registry's metrics."""

from collections import Counter as Tally
from collections.abc import Iterator

from inferloom.v1 import registry_pb2 as pb
from inferloom_mesh.metrics import Labels, Metrics
from inferloom_registry.lease_table import LeaseTable
from inferloom_registry.listener import Listener

_REASONS = {
    reason: pb.LeaseLoss.Name(reason).removeprefix("LEASE_LOSS_").lower()
    for reason in pb.LeaseLoss.values()
    if reason != pb.LEASE_LOSS_UNSPECIFIED
}
_REPLACED = "replaced"


class Meters(Listener):
    """Counts what happens to leases."""

    def __init__(self, metrics: Metrics, table: LeaseTable) -> None:
        self._registered = metrics.counter("inferloom_lease_registrations", "Leases granted.")
        self._renewed = metrics.counter("inferloom_lease_renewals", "Renewals of leases.")
        self._lost = metrics.counter(
            "inferloom_lease_losses", "Leases that ended: deregistered, expired, replaced, fenced.", "reason"
        )
        # What grows from nothing to one has not grown for Prometheus.
        for reason in (*_REASONS.values(), _REPLACED):
            self._lost.add(reason, by=0)

        def states() -> Iterator[tuple[Labels, float]]:
            tally = Tally(lease.suspect for lease in table.leases())
            yield from ((("active",), tally[False]), (("suspect",), tally[True]))

        metrics.gauge("inferloom_leases", "Leases that are held.", ("state",), states, merged="largest")
        metrics.read_counter(
            "inferloom_lease_suspicions",
            "Leases that were not renewed in time and became SUSPECT.",
            (),
            lambda: [((), table.suspected)],
        )
        metrics.gauge(
            "inferloom_registry_frozen",
            "1 while the registry's store is out of reach and the set of workers stays as it is.",
            (),
            lambda: [((), float(bool(table.frozen)))],
            merged="largest",
        )
        metrics.gauge(
            "inferloom_models_silenced",
            "Models of which more than half of the workers fell silent together.",
            (),
            lambda: [((), len(table.silenced))],
            merged="largest",
        )

    def on_registered(self) -> None:
        """Count a grant."""
        self._registered.add()

    def on_renewed(self) -> None:
        """Count a renewal."""
        self._renewed.add()

    def on_lost(self, reason: pb.LeaseLoss.ValueType) -> None:
        """Count an end by its reason."""
        self._lost.add(_REASONS.get(reason, "unknown"))

    def on_replaced(self) -> None:
        """Count an end by a return."""
        self._lost.add(_REPLACED)
