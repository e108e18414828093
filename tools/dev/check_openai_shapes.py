"""Hold the answers of a running mesh to OpenAI's own description of its API.

Usage: python tools/dev/check_openai_shapes.py FILE [--url URL] [--chat MODEL] [--embed MODEL]

FILE is the description, as OpenAPI in JSON; URL ends in /v1. Every body and every event of a stream is
validated against it, and fields that it does not have must be among the documented extensions. Prints a line
for each call; ends with status 1 if one does not fit.
"""

import argparse
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
from jsonschema import Draft202012Validator
from shapes.calls import Call, calls
from shapes.extensions import NAMES
from shapes.leftover import Described
from shapes.nulls import as_a_body, nullable, without_first_nulls

_STREAM = "text/event-stream"


class Shapes:
    """Validates values against a description.

    Args:
        document: The description.
    """

    def __init__(self, document: dict[str, Any]) -> None:
        self._document = document
        self._described = Described(document)

    def faults(self, call: Call, value: Any, media: str) -> Iterator[str]:
        """What is wrong with an answer, or with the data of an event."""
        operation = self._document["paths"].get(call.described, {}).get(call.method)
        content = operation["responses"]["200"]["content"] if operation else {}
        schema = content.get(media, {}).get("schema")
        if media == _STREAM and schema is None and call.path == "/completions":  # it describes none of these
            schema, value = content["application/json"]["schema"], as_a_body(value)
        if schema is None:
            yield "is not in the description"
            return
        value = without_first_nulls(value)
        whole = {**schema, "components": self._document["components"]}
        for error in Draft202012Validator(whole).iter_errors(value):
            yield f"{error.json_path}: {error.message[:160]}"
        for path in self._described.leftover(value, [schema]):
            if path.rpartition(".")[2].removesuffix("[]") not in NAMES:
                yield f"{path} is in no description"


def main() -> None:
    """Ask, compare, and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("file", type=Path)
    parser.add_argument("--url", default="http://127.0.0.1:8000/v1")
    parser.add_argument("--chat", default="smollm2-135m-instruct")
    parser.add_argument("--embed", default="all-minilm-l6-v2")
    given = parser.parse_args()
    shapes, kept, wrong = Shapes(nullable(json.loads(given.file.read_text()))), dict[str, str](), 0
    with httpx.Client(base_url=given.url, timeout=120) as http:
        for call in calls(given.chat, given.embed):
            found = list(dict.fromkeys(_check(http, shapes, call, kept)))
            wrong += bool(found)
            streamed = " (stream)" if call.body and call.body.get("stream") else ""
            print(f"{'FAILED' if found else 'ok':>6}  {call.method} {call.described}{streamed}", flush=True)
            for fault in found:
                print(f"        {fault}")
    if wrong:
        sys.exit(f"{wrong} answers are not as described")


def _check(http: httpx.Client, shapes: Shapes, call: Call, kept: dict[str, str]) -> Iterator[str]:
    path, body = _filled(call.path, kept), _filled(call.body, kept)
    if call.file is not None:
        form = {"files": {"file": ("lines.jsonl", call.file)}, "data": {"purpose": "batch"}}
        answer = http.request(call.method, path, **form)  # type: ignore[arg-type] # its own keywords
    else:
        answer = http.request(call.method, path, json=body)
    if answer.status_code != 200:
        yield f"answered {answer.status_code}: {answer.text[:200]}"
        return
    media = answer.headers["content-type"].partition(";")[0]
    if media == _STREAM:
        for line in answer.text.split("\n"):
            if line.startswith("data: ") and line != "data: [DONE]":
                yield from shapes.faults(call, json.loads(line[6:]), media)
        return
    value = answer.json()
    kept.update({name: value[name_of] for name_of, name in call.keeps.items()})
    yield from shapes.faults(call, value, media)


def _filled(value: Any, kept: dict[str, str]) -> Any:
    """A path or a body with what was kept in the places of its names."""
    if isinstance(value, dict):
        return {name: _filled(inner, kept) for name, inner in value.items()}
    if isinstance(value, str):
        for name, text in kept.items():
            value = value.replace(f"{{{name}}}", text)
    return value


if __name__ == "__main__":
    main()
