"""What `inferloom up` shows once everything runs."""

import pytest

from inferloom_cli.display import Display
from inferloom_cli.mesh_report import MeshReport
from inferloom_cli.run import Quiet
from inferloom_mesh.net import Address

MESH = MeshReport(1, "127.0.0.1:8000", "127.0.0.1:9000", "127.0.0.1:7000", (), (), "logs", 6.1)


@pytest.mark.parametrize("console", [True, False])
def test_where_the_console_is(capsys: pytest.CaptureFixture[str], console: bool) -> None:
    """Whoever has just started it finds it; where there is none, none is named."""
    called = Address("127.0.0.1", 9000), Address("127.0.0.1", 7000)
    Display(verbose=False, called=called, console=console).ready(MESH)
    assert ("http://127.0.0.1:8000/console" in capsys.readouterr().out) is console


@pytest.mark.parametrize("quiet", [True, False])
def test_a_service_that_is_ready_twice(capsys: pytest.CaptureFixture[str], quiet: bool) -> None:
    """One that ended and came back while others load is shown once, and no longer waited for."""
    called = Address("127.0.0.1", 9000), Address("127.0.0.1", 7000)
    display = Quiet() if quiet else Display(verbose=False, called=called)
    display.starting(["gateway", "worker-1"])
    display.service_ready("gateway", 1.0)
    display.service_ready("gateway", 4.0)
    display.service_ready("worker-1", 9.0)
    assert capsys.readouterr().err.count("gateway is ready") == (0 if quiet else 1)
