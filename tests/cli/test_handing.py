"""What the processes of one gateway are told by the one that starts them."""

from pathlib import Path

import pytest

from inferloom_cli.runmesh.handing import handed, taken
from inferloom_gateway.seat import Seat
from inferloom_gateway.settings import GatewaySettings
from inferloom_mesh.net import Address

REST, GRPC = Address("10.0.0.1", 8080), Address("10.0.0.1", 9090)
METRICS, COUNTS = Path("/run/metrics"), Path("/run/counts")

SOME_OF_EACH_KIND = {
    "registry": "10.0.0.5:7000,10.0.0.6:7000",
    "gateway_listen": "10.0.0.1:0",
    "gateway_metrics_listen": "none",
    "gateway_peer_listen": "10.0.0.1:9200",
    "gateway_processes": 4,
    "zone": "east",
    "worker_timeout_s": 7.5,
    "embedding_batch_size": 9,
    "link": "grpc",
    "drain_delay_s": 10.0,
    "max_in_flight": 17,
    "cors": "https://a.example,https://b.example",
    "trusted_proxies": "10.0.0.0/8,fd00::/8",
    "allow": "10.0.0.0/8",
    "strict": True,
    "console": False,
    "keys": "redis://:word@127.0.0.1:6379/0",
    "mesh_secret": "a secret of the mesh",
    "reasoning_key": "a secret of reasoning",
    "tls": "mesh/gateway",
    "trace_ratio": 0.25,
    "log_format": "json",
}


@pytest.fixture(autouse=True)
def _elsewhere(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No settings from outside the test."""
    monkeypatch.setenv("INFERLOOM_CONFIG", str(tmp_path / "inferloom.toml"))


def test_a_process_is_told_everything(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Flags, variables and the file alike; what these say by the time that it starts counts for nothing."""
    monkeypatch.setenv("INFERLOOM_DRAIN_LIMIT_S", "77")
    (tmp_path / "inferloom.toml").write_text("request_records = 5\n")
    settings = GatewaySettings(**SOME_OF_EACH_KIND)  # type: ignore[arg-type] # checked by pydantic
    given = handed(settings, REST, GRPC, METRICS, COUNTS)
    monkeypatch.setenv("INFERLOOM_DRAIN_LIMIT_S", "88")
    monkeypatch.setenv("INFERLOOM_BODY_LIMIT_S", "9")
    (tmp_path / "inferloom.toml").write_text("request_records = 6\nlink = 'call'\n")
    told = taken(3, given)
    assert told.seat == Seat(3, METRICS, COUNTS)
    moved = {"gateway_listen": REST, "gateway_grpc_listen": GRPC}
    for name in GatewaySettings.model_fields:
        assert getattr(told, name) == moved.get(name, getattr(settings, name)), name
    assert told.drain_limit_s == 77
    assert told.model_fields_set - {"taken_seat"} == settings.model_fields_set | moved.keys()


def test_reasoning_that_one_encrypted_is_opened_by_another() -> None:
    """Without a store that could hold their secret, they are handed one."""
    given = handed(GatewaySettings(no_store=True), REST, GRPC, METRICS, None)
    first, second = taken(0, given), taken(1, given)
    assert first.reasoning_key is not None
    assert first.reasoning_key == second.reasoning_key
    assert first.seat == Seat(0, METRICS)


def test_a_store_has_the_secret_of_all() -> None:
    """Those who have one are handed none."""
    assert taken(0, handed(GatewaySettings(), REST, GRPC, METRICS, None)).reasoning_key is None
