"""Reads the input of a batch: checks every line, and cuts it into chunks. Blocks; knows no event loop."""

from codecs import BOM_UTF8
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, BinaryIO

import orjson

from inferloom_gateway.http.unique_keys import repeated_key
from inferloom_gateway.storage.batch_chunks import Chunk
from inferloom_mesh.errors import InferloomError, shown

MOST_LINES = 50_000
MOST_PHYSICAL_LINES = 2 * MOST_LINES
"""Lines of the file at most, with the empty ones."""

LINES = 16
"""Lines of a chunk at most."""

CHUNK_BYTES = 2**20
"""Bytes from which on a chunk gets no more lines."""

MOST_ERRORS = 100
LONGEST_ID = 512

_NOT_HERE = ("stream", "background")
"""Fields of a body that ask for an answer of another form."""

Error = dict[str, Any]

Missing = Callable[[str], InferloomError | None]
"""Says why nobody may wait for a model: there is none of that name. None: there is one. Raises InferloomError
where neither can be said now."""


@dataclass(slots=True)
class Checked:
    """What an input is."""

    chunks: list[Chunk] = field(default_factory=list)
    errors: list[Error] = field(default_factory=list)
    """The first things that are wrong with it."""
    models: dict[str, int] = field(default_factory=dict)
    """Those that it asks for, each with the first line that does."""

    @property
    def model(self) -> str | None:
        """The model that all lines ask for; None: there are several."""
        return next(iter(self.models)) if len(self.models) == 1 else None

    def unknown(self, missing: Missing) -> Iterator[Error | None]:
        """What is wrong with each of the models, told of at its first line. Each is asked for as it is taken.

        Raises:
            InferloomError: As ``missing``.
        """
        for model, line in self.models.items():
            why = missing(model)
            yield None if why is None else _error("model_not_found", why.message, line, "body.model")


def check(file: BinaryIO, batch: str, endpoint: str, longest: int) -> Checked:
    """Check all lines of an input. Each may ask for a model of its own; a mark of byte order may come first.

    Args:
        file: The input.
        batch: Whose it is.
        endpoint: What every line must ask for.
        longest: Most bytes of a line.
    """
    found, names, count = Checked(), set[str](), 0
    begins = len(BOM_UTF8) if file.read(len(BOM_UTF8)) == BOM_UTF8 else 0
    file.seek(begins)
    chunk = Chunk(batch, 0, begins, 0, 1, 0)
    for number, raw in enumerate(iter(lambda: file.readline(longest + 2), b""), 1):
        if len(raw.rstrip(b"\r\n")) > longest:
            found.errors.append(
                _error("invalid_request", f"This line is over the limit of {longest} bytes.", number)
            )
            break  # the rest of the line would be read as another
        if number > MOST_PHYSICAL_LINES:
            message = f"There are more than {MOST_PHYSICAL_LINES} lines, empty ones included."
            found.errors.append(_error("too_many_lines", message, number))
            break
        if raw.strip():
            count += 1
            found.errors.extend(_complaints(raw, endpoint, names, found.models, number))
            if count > MOST_LINES:
                found.errors.append(
                    _error("too_many_tasks", f"There are more than {MOST_LINES} lines.", number)
                )
            if len(found.errors) >= MOST_ERRORS or count > MOST_LINES:
                break
            chunk = _grown(chunk, len(raw), 1)
        else:
            chunk = _grown(chunk, len(raw), 0)
        if chunk.lines >= LINES or chunk.size >= CHUNK_BYTES:
            if chunk.lines:
                found.chunks.append(chunk)
            begins += chunk.size
            chunk = Chunk(batch, len(found.chunks), begins, 0, number + 1, 0)
    if chunk.lines:
        found.chunks.append(chunk)
    if not count and not found.errors:
        found.errors.append(_error("empty_file", "The file has no lines.", None))
    return found


def _grown(chunk: Chunk, size: int, lines: int) -> Chunk:
    return Chunk(chunk.batch, chunk.number, chunk.begins, chunk.size + size, chunk.line, chunk.lines + lines)


def lines_of(file: BinaryIO, chunk: Chunk) -> Iterator[tuple[int, Any]]:
    """The requests of a chunk, with their lines' numbers."""
    file.seek(chunk.begins)
    for number, raw in enumerate(file.read(chunk.size).split(b"\n"), chunk.line):
        if raw.strip():
            yield number, orjson.loads(raw)


def _complaints(
    raw: bytes, endpoint: str, names: set[str], models: dict[str, int], line: int
) -> Iterator[Error]:
    try:
        asked = orjson.loads(raw)
    except orjson.JSONDecodeError as failure:
        yield _error("invalid_json_line", f"This line is not valid JSON: {failure.msg}.", line)
        return
    if not isinstance(asked, dict):
        yield _error("invalid_json_line", "This line is not a JSON object.", line)
        return
    if (key := repeated_key(raw, asked)) is not None:
        message = f"This line has the key '{shown(key)}' twice in one object."
        yield _error("invalid_json_line", message if key else "This line can be read in two ways.", line)
        return
    for param in ("custom_id", "method", "url", "body"):
        if asked.get(param) is None:
            yield _error("missing_required_parameter", f"Missing required parameter: '{param}'.", line, param)
    name = asked.get("custom_id")
    if name is not None:
        if not isinstance(name, str) or not 0 < len(name) <= LONGEST_ID:
            message = f"custom_id must be a string of at most {LONGEST_ID} characters."
            yield _error("invalid_custom_id", message, line, "custom_id")
        elif name in names:
            message = f"The custom_id '{shown(name)}' has been used before: each must be unique."
            yield _error("duplicate_custom_id", message, line, "custom_id")
        else:
            names.add(name)
    if asked.get("method") not in (None, "POST"):
        yield _error("invalid_method", "method must be POST.", line, "method")
    if asked.get("url") not in (None, endpoint):
        yield _error("mismatched_url", f"url must be {endpoint}, as the batch's endpoint.", line, "url")
    body = asked.get("body")
    if body is None:
        return
    if not isinstance(body, dict):
        yield _error("invalid_body", "body must be an object.", line, "body")
        return
    try:
        orjson.dumps(body)
    except orjson.JSONEncodeError:  # it reads deeper than it writes
        yield _error("invalid_body", "body is nested too deeply.", line, "body")
        return
    model = body.get("model")
    if not isinstance(model, str) or not model:
        yield _error("missing_required_parameter", "Missing required parameter: 'model'.", line, "body.model")
    else:
        models.setdefault(model, line)
    for param in _NOT_HERE:
        if body.get(param):
            yield _error("unsupported_parameter", f"A batch cannot {param}.", line, f"body.{param}")


def _error(code: str, message: str, line: int | None, param: str | None = None) -> Error:
    return {"code": code, "message": message, "param": param, "line": line}
