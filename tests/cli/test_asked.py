"""What is asked of a model, from a pipe or the command line."""

import os
import subprocess
import sys

import pytest

from tests.patience import PATIENCE_S


@pytest.mark.parametrize("locale", ["C.UTF-8", "C"])
@pytest.mark.parametrize(
    ("piped", "args"),
    [
        (b"caf\xe9 in Latin-1", ()),
        (b"", ("-m", "\udce9")),
        (b"Hello", ("--system", "\udce9")),
    ],
)
def test_what_is_no_text_is_one_line(piped: bytes, args: tuple[str, ...], locale: str) -> None:
    """Instead of a traceback, whatever the locale makes of such bytes."""
    done = subprocess.run(
        [sys.executable, "-m", "inferloom_cli", "chat", *args],
        input=piped,
        capture_output=True,
        timeout=PATIENCE_S,
        check=False,
        env=os.environ | {"LC_ALL": locale},
    )
    said = done.stderr.decode()
    assert done.returncode == 2, said
    assert "only text in UTF-8 can be asked" in said
    assert said.count("\n") == 1
