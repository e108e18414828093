"""What the gateway can be told, and by whom."""

from pathlib import Path

import pytest
from pydantic import ValidationError

from inferloom_gateway.settings import GatewaySettings
from inferloom_mesh.net import Address


@pytest.fixture(autouse=True)
def _clean(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No settings from outside the test."""
    for name in (
        "INFERLOOM_WORKER_TIMEOUT_S",
        "FASTCHAT_WORKER_API_TIMEOUT",
        "INFERLOOM_EMBEDDING_BATCH_SIZE",
        "FASTCHAT_WORKER_API_EMBEDDING_BATCH_SIZE",
    ):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("INFERLOOM_CONFIG", str(tmp_path / "inferloom.toml"))


def test_defaults_listen_on_loopback() -> None:
    """Without being told, both façades are on this machine only."""
    settings = GatewaySettings()
    assert settings.gateway_listen == Address("127.0.0.1", 8000)
    assert settings.gateway_grpc_listen == Address("127.0.0.1", 9000)
    assert not settings.cors


def test_fastchats_variables_are_honoured(monkeypatch: pytest.MonkeyPatch) -> None:
    """The names that FastChat's operators have set keep working."""
    monkeypatch.setenv("FASTCHAT_WORKER_API_TIMEOUT", "7")
    monkeypatch.setenv("FASTCHAT_WORKER_API_EMBEDDING_BATCH_SIZE", "1")
    settings = GatewaySettings()
    assert (settings.worker_timeout_s, settings.embedding_batch_size) == (7, 1)


def test_our_own_variables_win_over_fastchats(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where both are set, the name of this software counts."""
    monkeypatch.setenv("FASTCHAT_WORKER_API_TIMEOUT", "7")
    monkeypatch.setenv("INFERLOOM_WORKER_TIMEOUT_S", "8")
    assert GatewaySettings().worker_timeout_s == 8


def test_flags_win_over_the_environment_and_that_over_the_file(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The order is flag, environment, file, whichever name the environment uses."""
    (tmp_path / "inferloom.toml").write_text("worker_timeout_s = 5\nembedding_batch_size = 9\n")
    assert (GatewaySettings().worker_timeout_s, GatewaySettings().embedding_batch_size) == (5, 9)
    monkeypatch.setenv("FASTCHAT_WORKER_API_TIMEOUT", "7")
    assert GatewaySettings().worker_timeout_s == 7
    monkeypatch.setenv("INFERLOOM_WORKER_TIMEOUT_S", "8")
    assert GatewaySettings().worker_timeout_s == 8
    assert GatewaySettings(worker_timeout_s=9).worker_timeout_s == 9


def test_settings_cannot_be_changed_or_out_of_range() -> None:
    """A settings object is read once, and refuses what makes no sense."""
    with pytest.raises(ValidationError):
        GatewaySettings(worker_timeout_s=0)
    with pytest.raises(ValidationError):
        GatewaySettings().cors = ()  # type: ignore[misc] # what is tested


@pytest.mark.parametrize(
    ("given", "origins"),
    [
        ("*", ("*",)),
        ("https://a.example,http://localhost:5173", ("https://a.example", "http://localhost:5173")),
        (["https://a.example"], ("https://a.example",)),
        ("", ()),
    ],
)
def test_cors_is_all_or_a_list_of_origins(
    given: object, origins: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As a list in the file, and with commas elsewhere."""
    assert origins == GatewaySettings(cors=given).cors
    if isinstance(given, str):
        monkeypatch.setenv("INFERLOOM_CORS", given)
        assert origins == GatewaySettings().cors


@pytest.mark.parametrize("given", [True, "app.example", "https://app.example/path", ["*", 3]])
def test_what_is_no_origin_is_refused(given: object) -> None:
    """A browser would compare it with what it never sends."""
    with pytest.raises(ValidationError, match="origin"):
        GatewaySettings(cors=given)
