"""Shells complete the commands."""

import os
import subprocess
import sys

import pytest

from tests.patience import PATIENCE_S


@pytest.mark.parametrize(
    ("shell", "typed"),
    [
        ("bash", {"COMP_WORDS": "inferloom lo", "COMP_CWORD": "1"}),
        ("zsh", {"_TYPER_COMPLETE_ARGS": "inferloom lo"}),
        ("fish", {"_TYPER_COMPLETE_ARGS": "inferloom lo", "_TYPER_COMPLETE_FISH_ACTION": "get-args"}),
    ],
)
def test_a_shell_gets_the_commands_that_begin_so(shell: str, typed: dict[str, str]) -> None:
    """As its own completion script asks for them."""
    asking = {**os.environ, **typed, "_INFERLOOM_COMPLETE": f"complete_{shell}"}
    command = [sys.executable, "-m", "inferloom_cli"]
    said = subprocess.run(
        command, capture_output=True, text=True, timeout=PATIENCE_S, check=False, env=asking
    ).stdout
    assert "load" in said
    assert "logs" in said
    assert "unload" not in said
