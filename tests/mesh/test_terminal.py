"""The commands on a terminal."""

import warnings
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.mesh.conftest import CHAT
from tests.mesh.processes import Mesh
from tests.mesh.terminal import terminal


@pytest.fixture(autouse=True)
def forking() -> Iterator[None]:
    """A terminal needs a fork, and the child does nothing but start the command."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*fork.*", category=DeprecationWarning)
        yield


def test_a_conversation_remembers_and_can_be_stopped(demo: Mesh, tmp_path: Path):
    """Ctrl-C stops an answer and not the program; /exit leaves it."""
    with terminal(tmp_path, "chat", "--gateway", demo.grpc, "--temperature", "0") as screen:
        assert CHAT in screen.expect("> ")
        screen.type("What is the capital of France?\r")
        screen.expect("Paris")
        screen.expect("\n> ")
        screen.type("Write a very long story about the sea.\r")
        screen.expect(r"sea\.\r\n[^\r]{40}")
        screen.type("\x03")
        screen.expect(r"\(stopped\)")
        screen.expect("> ")
        screen.insist("\x03", "/exit")
        screen.type("/new\r")
        screen.expect("> ")
        screen.type("/exit\r")
        assert screen.status() == 0
    assert "capital of France" in (tmp_path / "inferloom" / "chat_history").read_text()


def test_ctrl_d_leaves_a_conversation(demo: Mesh, tmp_path: Path):
    """As it leaves a shell."""
    with terminal(tmp_path, "chat", "--gateway", demo.grpc) as screen:
        screen.expect("> ")
        screen.type("\x04")
        assert screen.status() == 0


def test_ctrl_c_ends_a_single_answer(demo: Mesh, tmp_path: Path):
    """Status 130, and no traceback."""
    flags = ("-m", "Write a very long story about the sea.", "--temperature", "0")
    with terminal(tmp_path, "chat", "--gateway", demo.grpc, *flags) as screen:
        screen.expect(".{20}")
        screen.type("\x03")
        assert screen.status() == 130
        with pytest.raises((AssertionError, OSError)):
            screen.expect("Traceback", limit=0.1)


def test_an_unknown_model_is_one_line_in_a_conversation(demo: Mesh, tmp_path: Path):
    """The conversation goes on after it."""
    with terminal(tmp_path, "chat", "nobody", "--gateway", demo.grpc) as screen:
        screen.expect("> ")
        screen.type("hello\r")
        screen.expect("'nobody' does not exist")
        screen.expect("> ")
        screen.type("\x04")
        assert screen.status() == 0


def test_ps_keeps_its_table_up_to_date(demo: Mesh, tmp_path: Path):
    """A second table comes after the first, and Ctrl-C leaves."""
    with terminal(tmp_path, "ps", "--watch", "--registry", demo.registry) as screen:
        screen.expect("worker-1")
        screen.expect("worker-1")
        screen.type("\x03")
        assert screen.status() == 130


def test_embed_previews_on_a_terminal(demo: Mesh, tmp_path: Path):
    """A table with the length, not 384 numbers."""
    with terminal(tmp_path, "embed", "a cat", "--gateway", demo.grpc) as screen:
        screen.expect(r"a cat\s+384\s+[+-]0\.\d{3}")
        assert screen.status() == 0
