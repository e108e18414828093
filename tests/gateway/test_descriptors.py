"""Connections are bounded by what a process has descriptors for."""

import resource

import pytest

from inferloom_gateway.http.descriptors import bounded


@pytest.mark.parametrize(
    ("soft", "hard", "wanted", "connections", "raised"),
    [
        (1024, 16384, 8192, 8192, 8288),  # the usual limit is raised to what is needed
        (1024, 1024, 8192, 928, 1024),  # where that is not allowed, fewer are taken
        (1024, 16384, 100, 100, 1024),
        (100, 100, 8192, 50, 100),
        (resource.RLIM_INFINITY, resource.RLIM_INFINITY, 8192, 8192, resource.RLIM_INFINITY),
    ],
)
def test_connections_leave_descriptors_for_the_rest(
    soft: int, hard: int, wanted: int, connections: int, raised: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And as many as the system allows are asked for."""
    limits = [(soft, hard)]
    monkeypatch.setattr(resource, "getrlimit", lambda _: limits[-1])
    monkeypatch.setattr(resource, "setrlimit", lambda _, both: limits.append(both))
    assert bounded(wanted) == connections
    assert limits[-1] == (raised, hard)
