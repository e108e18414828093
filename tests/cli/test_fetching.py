"""A hub's model while it comes: what is seen of it, and what is left where somebody stops it."""

import json
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.fake_hub import COMMIT, REPO, FakeHub
from tests.mesh.processes import INFERLOOM, environment
from tests.mesh.terminal import terminal
from tests.patience import PATIENCE_S

BYTES = 24 * 2**20
FILES = {"config.json": b"{}", "model.safetensors": bytes(BYTES), "README.md": b"no", "onnx/a.json": b"{}"}


@pytest.fixture
def hub() -> Iterator[FakeHub]:
    """With one model."""
    with FakeHub(FILES).running() as running:
        yield running


@pytest.fixture
def around(hub: FakeHub, tmp_path: Path) -> dict[str, str]:
    """An environment in which there is no other hub."""
    return {**environment(), **hub.environment(tmp_path / "hub")}


def pull(around: dict[str, str], **more: str) -> subprocess.CompletedProcess[str]:
    """Run `inferloom pull`."""
    command = [*INFERLOOM, "pull", REPO]
    return subprocess.run(
        command, env=around | more, capture_output=True, text=True, timeout=PATIENCE_S, check=False
    )


def left_in(folder: Path) -> set[str]:
    """Files of the model in the hub's cache, whole and in part."""
    return {
        each.name for each in folder.rglob("*") if each.suffix in (".safetensors", ".json", ".incomplete")
    }


def test_lines_are_written_where_there_is_no_terminal(hub: FakeHub, around: dict[str, str]) -> None:
    """With bytes, of how many, and how fast; only what is needed is fetched, and once."""
    hub.rate = 40e6
    done = pull(around)
    assert done.returncode == 0, done.stderr
    lines = done.stderr.splitlines()
    assert lines[0] == f"asking the model hub for {REPO}"
    assert lines[1] == f"{REPO}: 25.2 MB to fetch"
    assert lines[-1].startswith(f"{REPO}: 25.2 MB fetched in ")
    assert sorted(hub.sent) == ["config.json", "model.safetensors"]
    again = pull(around, HF_HUB_OFFLINE="1")
    assert again.stdout == done.stdout
    assert "fetched" not in again.stderr


def test_a_bar_is_drawn_on_a_terminal_and_ctrl_c_leaves_nothing_in_part(
    hub: FakeHub, around: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What came whole is kept, what did not is no model, and the next try fetches the rest."""
    hub.rate = 10e6
    for name, value in around.items():
        monkeypatch.setenv(name, value)
    with terminal(tmp_path, "pull", REPO) as screen:
        screen.expect(r"/25\.2 MB +[\d.]+ MB/s")
        screen.type("\x03")
        screen.expect("files that are here whole are kept")
        assert screen.status() == 130
    assert left_in(tmp_path / "hub") == {"config.json", f"{COMMIT}.json"}
    alone = pull(around, HF_HUB_OFFLINE="1")
    assert alone.returncode == 1
    assert f"only a part of {REPO} is on this machine" in alone.stderr
    hub.rate = None
    assert pull(around).returncode == 0
    assert hub.sent.count("config.json") == 1


@pytest.mark.parametrize(
    ("place", "words"),
    [
        ({"HF_ENDPOINT": "http://127.0.0.1:1"}, "is not on this machine, and no model hub could be reached"),
        ({}, "the model hub has no model acme/none, or shows it only to who sets HF_TOKEN"),
    ],
)
def test_what_cannot_be_fetched_is_told_in_a_line(
    around: dict[str, str], place: dict[str, str], words: str
) -> None:
    """A hub that does not answer, and one that has no such model."""
    done = subprocess.run(
        [*INFERLOOM, "pull", "acme/none"],
        env=around | place,
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=False,
    )
    assert done.returncode == 1
    assert len(done.stderr.splitlines()) == 2
    assert words in done.stderr.splitlines()[-1]


def test_a_worker_that_is_stopped_waits_for_no_download(hub: FakeHub, around: dict[str, str]) -> None:
    """And its log has nothing but its own lines."""
    hub.rate = 4e6
    command = [*INFERLOOM, "worker", "--model", REPO, "--listen", "127.0.0.1:0", "--registry", "127.0.0.1:1"]
    process = subprocess.Popen(
        [*command, "--log-format", "json"], env=around, stderr=subprocess.PIPE, text=True
    )
    assert hub.flowing.wait(PATIENCE_S)
    process.send_signal(signal.SIGTERM)
    _, log = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 0
    said = [json.loads(line)["message"] for line in log.splitlines()]
    assert any("asking the model hub" in message for message in said)
    assert not any(" fetched in " in message or "HTTP Request" in message for message in said), said
