"""A lease, and losing it."""

from dataclasses import dataclass

from inferloom.v1 import registry_pb2 as pb
from inferloom_registry.registration import Registration

SUSPECT_TTLS = 0.5
"""How long a lease is SUSPECT before it is removed, in TTLs."""

HOLD_TTLS = 10.0
"""How long a silent worker can be kept at most, in TTLs since its last renewal."""


class LeaseLostError(Exception):
    """The lease is not good any more, for ``reason``."""

    def __init__(self, reason: pb.LeaseLoss.ValueType) -> None:
        super().__init__(pb.LeaseLoss.Name(reason))
        self.reason = reason


@dataclass(slots=True)
class Lease:
    """A registration that is held, as this registry sees it. Times are those of the table's clock."""

    registration: Registration
    models: frozenset[str]
    renewed_at: float
    load: pb.Load | None = None
    """How busy the worker last said it was. None: it never said, or not here."""
    suspect_since: float | None = None
    """When it was found to have outlived its TTL. None: it is ACTIVE."""
    kept_until: float = 0.0
    """Not removed before this, because its model's workers fell silent together."""

    @property
    def suspect(self) -> bool:
        """Whether it is SUSPECT."""
        return self.suspect_since is not None

    @property
    def expires_at(self) -> float:
        """When the lease becomes SUSPECT without renewal."""
        return self.renewed_at + self.registration.ttl

    def outlived(self, ttls: float, now: float) -> bool:
        """Whether ``ttls`` TTLs have passed since the last renewal."""
        return now - self.renewed_at >= ttls * self.registration.ttl

    def due(self, now: float) -> bool:
        """Whether it is to be removed.

        Counted from when it was found SUSPECT: a registry that was itself held up finds many leases outlived
        at once, and their renewals may be waiting to be read.
        """
        since = self.suspect_since
        if since is None or now - since < SUSPECT_TTLS * self.registration.ttl:
            return False
        return now >= self.kept_until or self.outlived(HOLD_TTLS, now)
