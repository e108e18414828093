"""What runbooks look for in logs is found there, however these are written."""

import logging
import re
import subprocess
from pathlib import Path

import pytest

from inferloom_mesh.access_line import AccessLine
from inferloom_mesh.log_format import JsonFormatter, TextFormatter

ROOT = Path(__file__).parents[2]
RUNBOOKS = ROOT / "docs" / "runbooks.md"
GREPS = dict.fromkeys(re.findall(r"`LOGS \| grep ((?:-E )?[^`]+)`", RUNBOOKS.read_text()))

PLAIN = AccessLine(door="rest", method="POST", path="/v1/chat/completions", status=200, client="10.0.0.9:1")
WANTED: dict[str, AccessLine] = {
    "worker_lost": AccessLine(door="rest", method="POST", status=503, error="worker_lost"),
    "ttft": AccessLine(door="rest", method="POST", status=200, ttft=0.0412, queue=0.0001),
    "moved": AccessLine(door="grpc", method="Generate", status="OK", moved=(43,)),
    "cancelled": AccessLine(door="rest", method="POST", status=None, error="cancelled"),
}
"""Lines of requests, by what is looked for in them."""


def record(message: object) -> logging.LogRecord:
    """What a logger hands on."""
    return logging.LogRecord("inferloom.access", logging.INFO, "", 0, message, (), None)


def found(pattern: str, line: str) -> bool:
    """Whether grep, as it is typed, finds a line."""
    done = subprocess.run(
        ["sh", "-c", f"grep {pattern}"], input=line, text=True, capture_output=True, check=False
    )
    assert not done.stderr
    return done.returncode == 0


@pytest.mark.parametrize("pattern", GREPS)
@pytest.mark.parametrize("formatter", [TextFormatter(), JsonFormatter()], ids=["text", "json"])
def test_what_is_looked_for_is_found(pattern: str, formatter: logging.Formatter) -> None:
    """And not in the line of a request that has nothing of it."""
    wanted = next((line for name, line in WANTED.items() if name in pattern), None)
    if wanted is None:  # the words of a message
        sources = [file for part in ("mesh", "registry", "gateway") for file in (ROOT / part).rglob("*.py")]
        said = re.compile(rf'\blog\.\w+\(\s*"[^"]*\b{pattern}\b')
        assert any(said.search(file.read_text()) for file in sources), f"no log says {pattern}"
        wanted_line = formatter.format(record(f"worker-1 {pattern}, epoch 1"))
    else:
        wanted_line = formatter.format(record(wanted))
    assert found(pattern, wanted_line)
    assert not found(pattern, formatter.format(record(PLAIN)))


def test_every_kind_of_line_is_looked_for() -> None:
    """Or this would hold nothing."""
    assert all(any(name in pattern for pattern in GREPS) for name in WANTED)
    assert "gone" in GREPS
