"""The gateways that there are: each process says so again and again, and is forgotten when it no longer does.
Pure, with an injected clock. Nothing of it is stored: a registry that starts hears of all within seconds."""

from collections.abc import Callable

from inferloom.v1 import registry_pb2 as pb
from inferloom_mesh.errors import overloaded
from inferloom_registry.admission import refusal

RENEW_S = 5.0
"""How often a process says that it is there."""

TTL_S = 15.0
"""How long it is remembered."""

MOST = 1024
"""Processes that are remembered."""

LONGEST = 256
"""Characters of a zone."""

LONGEST_NAME = 63
"""Characters of a name, an instance and a version."""


class Gateways:
    """The processes of gateways.

    Args:
        clock: Monotonic seconds.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._known: dict[str, tuple[float, pb.GatewayInstance]] = {}

    def tell(self, instance: pb.GatewayInstance) -> None:
        """Note that a process is there.

        Raises:
            InferloomError: There are as many as are remembered.
        """
        self._forget()
        if instance.instance not in self._known and len(self._known) >= MOST:
            raise overloaded("The registry knows as many gateways as it remembers.")
        kept = pb.GatewayInstance()
        kept.CopyFrom(instance)
        kept.DiscardUnknownFields()
        self._known[instance.instance] = self._clock() + TTL_S, kept

    def leave(self, instance: str) -> None:
        """Note that it ends."""
        self._known.pop(instance, None)

    def all(self) -> list[pb.GatewayInstance]:
        """Those that are there, in order of name and process."""
        self._forget()
        found = [each for _, each in self._known.values()]
        return sorted(found, key=lambda each: (each.name, each.pid, each.instance))

    def _forget(self) -> None:
        now = self._clock()
        self._known = {name: entry for name, entry in self._known.items() if entry[0] > now}


def check_instance(instance: pb.GatewayInstance) -> None:
    """Check what a gateway says of itself, all but its address.

    Raises:
        InferloomError: INVALID_ARGUMENT, with the field at fault below ``gateway``.
    """
    for field, least, most in (
        ("instance", 1, LONGEST_NAME),
        ("name", 1, LONGEST_NAME),
        ("version", 0, LONGEST_NAME),
        ("zone", 0, LONGEST),
        ("machine", 0, LONGEST_NAME),
    ):
        if not least <= len(getattr(instance, field)) <= most:
            raise refusal(f"gateway.{field}", f"must have {least} to {most} characters")
