"""Settings as the command line reads them."""

from pathlib import Path

import pytest

from inferloom_cli.refusal import MISUSED, RefusedError
from inferloom_cli.settings import ClientSettings, load
from inferloom_mesh.net import Address


@pytest.fixture(autouse=True)
def bare(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A working folder with no settings file, and an environment with no settings."""
    monkeypatch.chdir(tmp_path)
    for name in ("INFERLOOM_GATEWAY", "INFERLOOM_REGISTRY", "INFERLOOM_CONFIG", "INFERLOOM_LOG_LEVEL"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path


def test_flags_win_over_the_environment_and_the_environment_over_the_file(
    monkeypatch: pytest.MonkeyPatch, bare: Path
):
    """Each source is used where those before it are silent."""
    (bare / "inferloom.toml").write_text('gateway = "file:1"\nregistry = "file:2"\nlog_level = "error"\n')
    monkeypatch.setenv("INFERLOOM_GATEWAY", "environment:3")
    monkeypatch.setenv("INFERLOOM_REGISTRY", "environment:4")
    settings = load(ClientSettings, gateway="flag:5", registry=None)
    assert settings.gateway == Address("flag", 5)
    assert settings.registry == Address("environment", 4)
    assert settings.log_level == "error"


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        ({"gateway": "nowhere"}, ["gateway", "'nowhere'", "host:port"]),
        ({"log_level": "loud"}, ["log_level", "'debug'"]),
        ({"gateway": "a:1", "registry": "b:99999"}, ["registry", "'b:99999'"]),
    ],
)
def test_a_wrong_value_is_one_line_that_names_the_setting(flags: dict[str, str], words: list[str]):
    """The line says which setting and why, and the status is that of misuse."""
    with pytest.raises(RefusedError) as refused:
        load(ClientSettings, **flags)
    assert refused.value.status == MISUSED
    assert "\n" not in str(refused.value)
    assert all(word in str(refused.value) for word in words)


def test_a_settings_file_that_is_no_toml_is_one_line(bare: Path):
    """The place of the fault is kept."""
    (bare / "inferloom.toml").write_text("gateway = \n")
    with pytest.raises(RefusedError, match="line 1"):
        load(ClientSettings)


def test_a_settings_file_that_was_named_must_exist(monkeypatch: pytest.MonkeyPatch):
    """A mistyped path is not taken for no settings."""
    monkeypatch.setenv("INFERLOOM_CONFIG", "mistyped.toml")
    with pytest.raises(RefusedError, match=r"mistyped\.toml"):
        load(ClientSettings)
