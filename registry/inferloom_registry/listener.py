"""Where metrics listen: the points of a lease's life, told once each."""

from inferloom.v1 import registry_pb2 as pb


class Listener:
    """Is told of leases. Override what is of interest; it must be quick, and must not raise."""

    def on_registered(self) -> None:
        """A lease was granted."""

    def on_renewed(self) -> None:
        """A lease was renewed."""

    def on_lost(self, reason: pb.LeaseLoss.ValueType) -> None:
        """A lease was given back, ran out, or was fenced by a newer one."""
