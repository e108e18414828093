"""How log lines are written."""

import json
import logging
import sys

from inferloom_mesh.access_line import AccessLine
from inferloom_mesh.log_format import JsonFormatter, TextFormatter

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
