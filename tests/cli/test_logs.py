"""The lines that services write."""

import logging
from pathlib import Path

import pytest

from inferloom_cli.runmesh.logs import ServiceLog, new_run_folder


def test_every_line_goes_to_the_file(tmp_path: Path) -> None:
    """The file holds the lines as they came."""
    log = ServiceLog(tmp_path, "worker-1", pytest.fail)
    log.write("2026-01-01 10:00:00,000 INFO    x: one")
    log.write("100 % {braces}")
    log.close()
    expected = "2026-01-01 10:00:00,000 INFO    x: one\n100 % {braces}\n"
    assert expected == (tmp_path / "worker-1.log").read_text()


def test_a_line_has_the_level_that_it_names(tmp_path: Path) -> None:
    """The level is read from the line."""
    log = ServiceLog(tmp_path, "x", pytest.fail)
    assert log.write("2026-01-01 10:00:00,000 WARNING x: careful") == logging.WARNING
    assert log.write("2026-01-01 10:00:00,000 INFO    x: fine") == logging.INFO
    log.close()


def test_a_traceback_has_the_level_of_its_record(tmp_path: Path) -> None:
    """Lines without a level continue the line before."""
    log = ServiceLog(tmp_path, "x", pytest.fail)
    log.write("2026-01-01 10:00:00,000 ERROR   x: failed")
    assert log.write("Traceback (most recent call last):") == logging.ERROR
    log.close()


def test_noise_before_the_first_record_is_quiet(tmp_path: Path) -> None:
    """What a library prints while it is imported is not a warning."""
    log = ServiceLog(tmp_path, "x", pytest.fail)
    assert log.write("Loading weights: 100%") == logging.INFO
    log.close()


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no device that is always full")
def test_a_full_disk_is_one_warning(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """Not a traceback for each line; the lines are still kept for the terminal."""
    (tmp_path / "x.log").symlink_to("/dev/full")
    warnings: list[str] = []
    log = ServiceLog(tmp_path, "x", warnings.append)
    for n in range(5):
        log.write(f"line {n}")
    log.close()
    assert len(warnings) == 1
    assert "x.log" in warnings[0]
    assert "No space left" in warnings[0]
    assert list(log.tail)[-1] == "line 4"
    assert capfd.readouterr().err == ""


def test_a_run_is_kept_whatever_the_clock_says(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """One whose name sorts before all others, as after a clock was set back, is not one of long past."""
    monkeypatch.setattr("inferloom_cli.runmesh.logs.log_root", lambda: tmp_path)
    for number in range(30):
        (tmp_path / f"2099-01-01_00-00-{number:02}_1").mkdir()
    folder = new_run_folder("2026-01-01_00-00-00_1")
    assert folder.is_dir()
    assert len(list(tmp_path.iterdir())) == 20
