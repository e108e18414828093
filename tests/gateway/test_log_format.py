"""How log lines are written."""

import asyncio
import io
import json
import logging
import sys
from typing import Any

import pytest

from inferloom_mesh.access_line import AccessLine
from inferloom_mesh.log_format import ACCESS, JsonFormatter, TextFormatter
from inferloom_mesh.log_writer import TurnWriter

LINE = AccessLine(
    door="rest",
    method="POST",
    path="/v1/chat/completions",
    status=200,
    request_id="abc",
    model="a model",
    worker="worker-1",
    prompt_tokens=12,
    cached_tokens=8,
    completion_tokens=20,
    ttft=0.0431,
    queue=0.0,
    prefill=0.03,
    decode=0.167,
    total=0.2104,
    attempts=1,
    client="127.0.0.1:5000",
)


def record(
    message: object, *args: object, level: int = logging.INFO, fault: bool = False
) -> logging.LogRecord:
    """A record as a logger makes it."""
    return logging.LogRecord(
        "some.logger", level, "f.py", 1, message, args, sys.exc_info() if fault else None
    )


def test_a_request_reads_from_left_to_right() -> None:
    """What, how it went, who, how much, how long, for whom."""
    assert str(LINE) == (
        'POST /v1/chat/completions 200 model="a model" worker=worker-1 in=12 cached=8 out=20 ttft=43.1ms '
        "queue=0.0ms prefill=30.0ms decode=167.0ms total=210.4ms attempts=1 client=127.0.0.1:5000 "
        "request_id=abc"
    )


def test_what_is_not_known_is_left_out() -> None:
    """A request that came to nothing has a short line."""
    line = AccessLine(
        door="grpc", method="Generate", status="NOT_FOUND", error="model_not_found", total=0.001
    )
    assert str(line) == "grpc Generate NOT_FOUND error=model_not_found total=1.0ms"


def test_json_lines_hold_every_field_with_its_type() -> None:
    """Numbers are numbers, and every name is there."""
    line = json.loads(JsonFormatter().format(record(LINE)))
    assert list(line)[:2] == ["time", "level"]
    assert (line["status"], line["prompt_tokens"], line["ttft_ms"], line["error"]) == (200, 12, 43.1, None)
    assert line["message"] == "POST /v1/chat/completions"
    bare = AccessLine(door="grpc", method="Embed", status=None)
    assert json.loads(JsonFormatter().format(record(bare))).keys() == line.keys()


def test_every_other_line_is_json_too() -> None:
    """With its traceback in it, on one line."""
    try:
        raise ValueError("two\nlines")
    except ValueError:
        text = JsonFormatter().format(record("failed: %s", "x\ny", level=logging.ERROR, fault=True))
    assert "\n" not in text
    line = json.loads(text)
    assert (line["level"], line["logger"], line["message"]) == ("ERROR", "some.logger", "failed: x\ny")
    assert "ValueError: two" in line["exception"]


def test_text_lines_are_as_before() -> None:
    """Time, level, logger, message."""
    words = TextFormatter().format(record("hello %d", 3)).split()
    assert words[2:] == ["INFO", "some.logger:", "hello", "3"]


class Writes(io.StringIO):
    """A file that remembers each write."""

    def __init__(self) -> None:
        super().__init__()
        self.writes: list[str] = []

    def write(self, text: str) -> int:
        """Remember."""
        self.writes.append(text)
        return len(text)


def writer(to: Any) -> tuple[TurnWriter, logging.Logger, logging.Logger]:
    """A writer, the logger of requests and another one."""
    made = TurnWriter(to)
    loggers = [logging.Logger(name, logging.INFO) for name in (ACCESS, "other")]
    for each in loggers:
        each.addHandler(made)
    return made, loggers[0], loggers[1]


async def test_requests_that_end_together_are_one_write() -> None:
    """Of their turn of the loop; any other line comes at once, and behind them."""
    file = Writes()
    _, access, other = writer(file)
    for number in range(3):
        access.info("request %d", number)
    assert file.writes == []
    await asyncio.sleep(0)
    assert file.writes == ["request 0\nrequest 1\nrequest 2\n"]
    access.info("request 3")
    other.warning("trouble")
    assert "".join(file.writes[1:]) == "request 3\ntrouble\n"
    await asyncio.sleep(0)
    assert len(file.writes) == 3


def test_a_line_outside_of_a_loop_is_written_at_once() -> None:
    """And so is what waits when the process ends."""
    file = Writes()
    made, access, _ = writer(file)

    async def end() -> None:
        access.info("in a loop")
        made.flush()

    access.info("alone")
    asyncio.run(end())
    assert "".join(file.writes) == "alone\nin a loop\n"


async def test_a_full_disk_ends_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """The lines are lost, and later ones are written."""
    monkeypatch.setattr(logging, "raiseExceptions", False)
    file = Writes()
    _, access, _ = writer(file)
    full = True
    write = file.write

    def fail(text: str) -> int:
        if full:
            raise OSError(28, "No space left on device")
        return write(text)

    file.write = fail  # type: ignore[method-assign]
    access.info("lost")
    await asyncio.sleep(0)
    full = False
    access.info("kept")
    await asyncio.sleep(0)
    assert file.writes == ["kept\n"]
