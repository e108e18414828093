"""Texts of others on a terminal: none is an order to it."""

import asyncio
import io

import pytest
from rich.table import Table
from rich.text import Text

from inferloom.v1 import gateway_pb2 as pb
from inferloom.v1.inference_pb2 import SamplingOptions, StoppingOptions
from inferloom_cli import logs
from inferloom_cli.chat import say
from inferloom_cli.conversation import Manner
from inferloom_cli.display import Display
from inferloom_cli.explain import tell
from inferloom_cli.log_lines import Entry
from inferloom_cli.runmesh import siblings
from inferloom_cli.terminal import harmless, terminal
from inferloom_mesh.net import Address
from tests.cli.fake_mesh import FakeMesh

CLIPBOARD = "\x1b]52;c;cm0gLXJmIH4=\x07"
"""Has a terminal put something into the clipboard."""
UP = "\x1b[2A\x9b2K\u202e"
"""Writes over what stands above, and from right to left."""


def orders(text: str) -> list[str]:
    """What a terminal would not only show."""
    return [sign for sign in text if sign in "\x1b\x07\x9b\u202e\r"]


def test_no_text_is_an_order(capsys: pytest.CaptureFixture[str]) -> None:
    """As a string, a styled text, and in a table's cells and titles; what is harmless stays as it is."""
    table = Table(f"TITLE{UP}")
    table.add_row(f"cell{CLIPBOARD}")
    for what in (CLIPBOARD, Text(f"a{UP}b", style="red"), table):
        terminal(width=80).print(what)
        assert not orders(capsys.readouterr().out), what
    terminal(width=80).print("naïve 中文 🙂\nline")
    assert capsys.readouterr().out == "naïve 中文 🙂\nline\n"


def test_a_story_cannot_write_over_itself(capsys: pytest.CaptureFixture[str]) -> None:
    """Whoever calls chooses the model's name, and an operator reads it."""
    tell(pb.RequestRecord(request_id="r", model=f"m{UP}", method="generate"), terminal(width=80))
    told = capsys.readouterr().out
    assert "model m\ufffd[2A" in told
    assert not orders(told)


def test_log_lines_keep_their_words_and_give_no_orders(capsys: pytest.CaptureFixture[str]) -> None:
    """Engines write coloured lines."""
    display = Display(verbose=True, called=(Address("127.0.0.1", 9000), Address("127.0.0.1", 7000)))
    display.line("worker-1", f"\x1b[36m(Engine)\x1b[0m ready{CLIPBOARD}", 20)
    told = capsys.readouterr().err
    assert told.startswith("worker-1 │ (Engine) ready")
    assert not orders(told)


class Screen(io.StringIO):
    """A terminal."""

    def isatty(self) -> bool:
        """It is one."""
        return True


@pytest.mark.parametrize("screen", [Screen(), io.StringIO()])
def test_lines_of_services_are_text(screen: io.StringIO, monkeypatch: pytest.MonkeyPatch) -> None:
    """They repeat what callers say; a file gets them as they are."""
    monkeypatch.setattr("sys.stdout", screen)
    monkeypatch.setattr("sys.stderr", screen)
    logs._print([Entry("gateway", 1.0, [CLIPBOARD])], logs.Wanted((), None, 0.0), ["gateway"])
    siblings._pass_on("gateway-1", CLIPBOARD, 20)
    shown = harmless(CLIPBOARD) if screen.isatty() else CLIPBOARD
    assert screen.getvalue() == f"gateway │ {shown}\n{shown}\n"


@pytest.mark.parametrize("screen", [Screen(), io.StringIO()])
async def test_an_answer_is_text(
    mesh: FakeMesh, monkeypatch: pytest.MonkeyPatch, screen: io.StringIO
) -> None:
    """A document that a model repeats is not the person's own; a file gets the answer as it is."""
    mesh.gateway.words = ["one\r", f"\ntwo{CLIPBOARD}"]
    monkeypatch.setattr("sys.stdout", screen)
    manner = Manner(None, SamplingOptions(), StoppingOptions())
    await asyncio.to_thread(say, mesh.address, None, "Hello", manner)
    if screen.isatty():
        assert screen.getvalue() == f"one\ntwo{harmless(CLIPBOARD)}\n"
        assert not orders(screen.getvalue())
    else:
        assert screen.getvalue() == f"one\r\ntwo{CLIPBOARD}\n"
