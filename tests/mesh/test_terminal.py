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


def test_a_conversation_remembers_and_can_be_stopped(demo: Mesh, tmp_path: Path) -> None:
    """Ctrl-C stops an answer and not the program; /exit leaves it. The answer's speed stands below it."""
    with terminal(tmp_path, "chat", "--gateway", demo.grpc, "--temperature", "0") as screen:
        assert CHAT in screen.expect("> ")
        screen.type("What is the capital of France?\r")
        screen.expect("Paris")
        screen.expect(r"\(\d+ tokens, [\d.]+ tok/s\)")
        screen.expect("\n> ")
        screen.type("Write a very long story about the sea.\r")
        screen.expect(r"sea\.\r\n[^\r]{40}")
        screen.type("\x03")
        screen.expect(r"\(stopped\)")
        screen.expect("> ")
        screen.insist("\x03", "/help shows")
        screen.type("/new\r")
        screen.expect("> ")
        screen.type("/exit\r")
        assert screen.status() == 0
    assert "capital of France" in (tmp_path / "inferloom" / "chat_history").read_text()


def test_ctrl_d_leaves_a_conversation(demo: Mesh, tmp_path: Path) -> None:
    """As it leaves a shell."""
    with terminal(tmp_path, "chat", "--gateway", demo.grpc) as screen:
        screen.expect("> ")
        screen.type("\x04")
        assert screen.status() == 0


def test_ctrl_c_ends_a_single_answer(demo: Mesh, tmp_path: Path) -> None:
    """Status 130, and no traceback."""
    flags = ("-m", "Write a very long story about the sea.", "--temperature", "0")
    for _ in range(10):
        with terminal(tmp_path, "chat", "--gateway", demo.grpc, *flags) as screen:
            screen.expect(".{20}")
            screen.type("\x03")
            status = screen.status()
            with pytest.raises((AssertionError, OSError)):
                screen.expect("Traceback", limit=0.1)
        if status:  # or the answer had ended before the key was pressed
            break
    assert status == 130


def test_an_unknown_model_ends_before_the_first_prompt(demo: Mesh, tmp_path: Path) -> None:
    """With the name that was meant, and status 1."""
    with terminal(tmp_path, "chat", "smollm2", "--gateway", demo.grpc) as screen:
        screen.expect(f"no model called smollm2 is served; did you mean {CHAT}")
        assert screen.status() == 1


def test_what_begins_like_a_command_is_not_sent_to_the_model(demo: Mesh, tmp_path: Path) -> None:
    """/help and /? list what there is, an unknown word is told, and words that leave a shell leave here."""
    with terminal(tmp_path, "chat", "--gateway", demo.grpc) as screen:
        for typed, shown in (
            ("/?", r'"""\s+begin, and end'),
            ("/frob", "/frob is no command"),
            ("/st temperature 0", "did you mean /set"),
            ("/set temperature hot", "temperature must be a number"),
            ("/set temperature 0", r"temperature 0  \(yours\)"),
            ("/system Answer in French.", "Answer in French."),
            ("/model nobody", "no model called nobody is served"),
            (f"/model {CHAT}", f"now talking to {CHAT}"),
            ("/system off", "no standing instructions"),
        ):
            screen.expect("> ")
            screen.type(f"{typed}\r")
            screen.expect(shown)
        screen.expect("> ")
        screen.type("quit\r")
        assert screen.status() == 0


def test_a_message_may_have_several_lines(demo: Mesh, tmp_path: Path) -> None:
    """Between triple quotes, where a slash is no command."""
    flags = ("--temperature", "0", "--max-tokens", "40")
    with terminal(tmp_path, "chat", "--gateway", demo.grpc, *flags) as screen:
        screen.expect("> ")
        screen.type('"""What is the capital\r')
        screen.expect("… ")
        screen.type("/of France?\r")
        screen.expect("… ")
        screen.type('"""\r')
        assert "no command" not in screen.expect(r"tok/s\)")


def test_what_is_typed_during_an_answer_is_read_after_it(demo: Mesh, tmp_path: Path) -> None:
    """It does not appear in the answer, and it is not lost."""
    flags = ("--temperature", "0", "--max-tokens", "100")
    with terminal(tmp_path, "chat", "--gateway", demo.grpc, *flags) as screen:
        screen.expect("> ")
        screen.type("Write a long story about the sea.\r")
        screen.expect(r"sea\.\r\n[^\r]{40}")
        screen.type("/bye\r")
        assert "/bye" not in screen.expect(r"tok/s\)\r\n")
        screen.expect("/bye")
        assert screen.status() == 0


def test_ps_keeps_its_table_up_to_date(demo: Mesh, tmp_path: Path) -> None:
    """A second table comes after the first, and Ctrl-C leaves."""
    with terminal(tmp_path, "ps", "--watch", "--registry", demo.registry) as screen:
        screen.expect("worker-1")
        screen.expect("worker-1")
        screen.type("\x03")
        assert screen.status() == 130


def test_embed_previews_on_a_terminal(demo: Mesh, tmp_path: Path) -> None:
    """A table with the length, not 384 numbers."""
    with terminal(tmp_path, "embed", "a cat", "--gateway", demo.grpc) as screen:
        screen.expect(r"a cat\s+384\s+[+-]0\.\d{3}")
        assert screen.status() == 0


def test_a_conversation_needs_no_place_for_its_history(demo: Mesh, tmp_path: Path) -> None:
    """Where nothing can be written it goes on without one."""
    (tmp_path / "file").touch()
    flags = ("--temperature", "0", "--max-tokens", "32")
    with terminal(tmp_path / "file" / "state", "chat", "--gateway", demo.grpc, *flags) as screen:
        screen.expect("> ")
        screen.type("What is the capital of France?\r")
        screen.expect("Paris")
        screen.expect("\n> ")
        screen.type("/bye\r")
        assert screen.status() == 0
