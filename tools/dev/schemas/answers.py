"""What a server makes of each schema of a file."""

import asyncio
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
from jsonschema.exceptions import SchemaError
from jsonschema.validators import validator_for

ASK = "Write one JSON value that conforms to this JSON Schema, and nothing else:\n"


@dataclass(frozen=True, slots=True)
class Case:
    """One schema."""

    name: str
    schema: Any

    def prompt(self, most: int) -> str:
        """What the model is asked; of a long schema, its beginning."""
        return ASK + json.dumps(self.schema)[:most]


@dataclass(slots=True)
class Tally:
    """What a server did."""

    refused: dict[str, str] = field(default_factory=dict)
    """With a 4xx: why, by name."""
    failed: dict[str, str] = field(default_factory=dict)
    """In any other way."""
    cut: list[str] = field(default_factory=list)
    """At the most tokens."""
    valid: list[str] = field(default_factory=list)
    invalid: dict[str, str] = field(default_factory=dict)
    """Finished, and do not conform: what is wrong."""
    noted: dict[str, str] = field(default_factory=dict)
    """What the server said that it does not enforce."""

    @property
    def accepted(self) -> int:
        """Schemas that were taken."""
        return len(self.cut) + self.finished

    @property
    def finished(self) -> int:
        """Answers that came to their end."""
        return len(self.valid) + len(self.invalid)


def read_cases(path: Path) -> list[Case]:
    """The schemas of a file of JSON lines with ``id`` and ``schema``."""
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
    return [Case(f"{row.get('dataset', '')}/{row['id']}", row["schema"]) for row in rows]


async def measure(
    client: httpx.AsyncClient,
    model: str,
    cases: Sequence[Case],
    *,
    max_tokens: int,
    most_prompt: int,
    at_once: int,
) -> Tally:
    """Ask for an answer to each schema, some at a time."""
    tally, gate = Tally(), asyncio.Semaphore(at_once)

    async def one(index: int, case: Case) -> None:
        form = {"name": "answer", "schema": case.schema, "strict": True}
        body = {
            "model": model,
            "messages": [{"role": "user", "content": case.prompt(most_prompt)}],
            "response_format": {"type": "json_schema", "json_schema": form},
            "temperature": 1,
            "seed": index,
            "max_tokens": max_tokens,
        }
        async with gate:
            try:
                response = await client.post("chat/completions", json=body)
            except httpx.HTTPError as error:
                tally.failed[case.name] = repr(error)
                return
        _judge(tally, case, response)

    await asyncio.gather(*(one(index, case) for index, case in enumerate(cases)))
    return tally


def _judge(tally: Tally, case: Case, response: httpx.Response) -> None:
    if 400 <= response.status_code < 500:
        error = response.json().get("error", {})
        tally.refused[case.name] = str(error.get("message") if isinstance(error, dict) else error)[:200]
        return
    if response.status_code != 200:
        tally.failed[case.name] = f"{response.status_code}: {response.text[:200]}"
        return
    if notes := response.headers.get("x-inferloom-notes"):
        tally.noted[case.name] = notes
    choice = response.json()["choices"][0]
    if choice["finish_reason"] != "stop":
        tally.cut.append(case.name)
        return
    wrong = what_is_wrong(case.schema, choice["message"]["content"])
    if wrong is None:
        tally.valid.append(case.name)
    else:
        tally.invalid[case.name] = wrong


def what_is_wrong(schema: Any, text: str) -> str | None:
    """Why a text is no JSON that conforms; None: it conforms."""
    try:
        value = json.loads(text)
    except ValueError as error:
        return f"no JSON: {error}: {text[-60:]!r}"
    try:
        found = next(validator_for(schema)(schema).iter_errors(value), None)
    except SchemaError as error:
        return f"the schema is none: {error.message}"
    return None if found is None else f"{found.validator}: {found.message[:120]}"
