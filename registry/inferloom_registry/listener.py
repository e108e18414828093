"""Where metrics listen: the points of a lease's life, told once each."""

from inferloom.v1 import registry_pb2 as pb


class Listener:
    """Is told of leases. Override what is of interest; it must be quick, and must not raise."""

    def on_registered(self) -> None:
        """A lease was granted."""

    def on_renewed(self) -> None:
        """A lease was renewed."""

    def on_lost(self, reason: pb.LeaseLoss.ValueType) -> None:
        """A lease was given back, ran out, or was fenced by a process at another address."""

    def on_replaced(self) -> None:
        """A worker that had not given its lease back registered again at the same address: it was started
        anew, or did not hear that it had registered."""
