"""The gateways that a registry knows."""

import pytest

from inferloom.v1 import registry_pb2 as pb
from inferloom_mesh.errors import InferloomError, Reason
from inferloom_registry.gateways import MOST, TTL_S, Gateways, check_instance
from tests.registry.clock import FakeClock


def one(instance: str, **more: str) -> pb.GatewayInstance:
    """A process."""
    return pb.GatewayInstance(instance=instance, **{"name": "front", **more})  # type: ignore[arg-type] # its fields


def test_who_does_not_say_so_again_is_forgotten() -> None:
    """And who says that it ends, at once."""
    clock = FakeClock()
    gateways = Gateways(clock)
    for name in ("a", "b", "c"):
        gateways.tell(one(name))
    clock.advance(TTL_S / 2)
    gateways.tell(one("a", zone="new"))
    gateways.leave("b")
    assert [each.instance for each in gateways.all()] == ["a", "c"]
    clock.advance(TTL_S / 2 + 0.1)
    [left] = gateways.all()
    assert (left.instance, left.zone) == ("a", "new")


def test_only_so_many_are_remembered() -> None:
    """One more is refused; one that is known is not."""
    gateways = Gateways(FakeClock())
    for place in range(MOST):
        gateways.tell(one(str(place)))
    gateways.tell(one("0"))
    with pytest.raises(InferloomError) as refusal:
        gateways.tell(one("more"))
    assert refusal.value.reason is Reason.SERVER_OVERLOADED


@pytest.mark.parametrize(
    ("field", "value"),
    [("instance", ""), ("instance", "x" * 64), ("name", ""), ("zone", "x" * 257), ("machine", "x" * 64)],
)
def test_what_a_gateway_says_is_bounded(field: str, value: str) -> None:
    """Each field, by name."""
    with pytest.raises(InferloomError) as refusal:
        check_instance(one(**{"instance": "a", field: value}))
    assert refusal.value.param == f"gateway.{field}"
