from ipaddress import ip_network

import pytest
from pydantic import ValidationError

from inferloom_registry.settings import RegistrySettings


def test_networks_are_read_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """A comma-separated list, as people type it."""
    monkeypatch.setenv("INFERLOOM_ALLOWED_NETWORKS", "10.0.0.0/8, fd00::/8")
    assert RegistrySettings().allowed_networks == (ip_network("10.0.0.0/8"), ip_network("fd00::/8"))


@pytest.mark.parametrize(
    "wrong",
    [
        {"lease_ttl_s": 1.0},
        {"lease_ttl_s": 61.0},
        {"lease_ttl_min_s": 0.0},
        {"lease_ttl_s": float("nan")},
        {"allowed_networks": "10.0.0.0/33"},
        {"max_workers": 0},
        {"registry_listen": "7000"},
    ],
)
def test_settings_out_of_range_are_refused(wrong: dict[str, object]) -> None:
    """A default TTL outside its own limits, a network that is none, and the like."""
    with pytest.raises(ValidationError):
        RegistrySettings(**wrong)  # type: ignore[arg-type] # wrong on purpose
