"""Writes the parameter table: ``inferloom/parameters.py`` and ``docs/parameters.md``."""

import dataclasses
import json
import math
import subprocess
import sys
from collections.abc import Collection, Iterable
from enum import Enum
from pathlib import Path
from typing import Any

from inferloom.parameter_table import ContractField, Honour, Meaning, Range, RestEndpoint, RestParameter

_HEAD = '''"""Every parameter of a request.

Made by tools/dev/protos.py of the contract's options and rest.textproto.
"""

from inferloom.parameter_table import ContractField, Honour, Meaning, Range, RestEndpoint, RestParameter
'''

_UINT32_MAX = 2**32 - 1

_ABOUT = """# Parameters

*Made by `make protos` of the options in `protos/inferloom/v1/inference.proto` and of `rest.textproto`
beside it. How one is added is told in `protos/inferloom/parameter_table.py`.*

A body field that is on none of these lists is ignored and named, with its place, in the response header
`x-inferloom-ignored`; with `--strict` it is refused.
"""


def python(fields: Iterable[ContractField], endpoints: Iterable[RestEndpoint]) -> str:
    """The module."""
    parts = [_HEAD, "FIELDS: tuple[ContractField, ...] = ("]
    parts += [f"{_call(field)}," for field in fields]
    parts += [")", '"""The fields of the contract\'s requests."""', ""]
    parts.append("ENDPOINTS: tuple[RestEndpoint, ...] = (")
    for each in endpoints:
        parts.append(f"RestEndpoint({each.name!r}, {each.path!r}, {each.request!r}, {{")
        parts += [f"{name!r}: {_call(row)}," for name, row in each.parameters.items()]
        parts.append("}),")
    parts += [")", '"""What each REST endpoint takes."""']
    ruff = Path(sys.executable).parent / "ruff"
    command = [str(ruff), "format", "--stdin-filename", "parameters.py", "-"]
    return subprocess.run(command, input="\n".join(parts), capture_output=True, text=True, check=True).stdout


def _call(row: ContractField | RestParameter | Range) -> str:
    given = (
        f"{field.name}={_value(getattr(row, field.name))}"
        for field in dataclasses.fields(row)
        if getattr(row, field.name) != field.default
    )
    return f"{type(row).__name__}({', '.join(given)})"


def _value(value: Any) -> str:
    if isinstance(value, Range):
        return _call(value)
    if isinstance(value, Enum):
        return f"{type(value).__name__}.{value.name}"
    if isinstance(value, float) and math.isfinite(value) and value == int(value):
        return str(int(value))
    return repr(value)


def markdown(fields: Collection[ContractField], endpoints: Iterable[RestEndpoint]) -> str:
    """The page."""
    lines = [_ABOUT]
    for each in endpoints:
        rows = each.parameters.values()
        lines += [f"## POST {each.path}", "", "| parameter | type | values | default | sets | |"]
        lines.append("| --- | --- | --- | --- | --- | --- |")
        later = {
            field.path
            for field in fields
            if field.request == each.request and field.honoured_by is Honour.NONE
        }
        lines += [_rest(row, later) for row in rows if row.meaning in (Meaning.FIELD, Meaning.OWN)]
        lines.append("")
        if not each.request:
            continue
        lines += [f"Accepted without effect: {_names(rows, Meaning.HINT)}.", ""]
        refused = [row for row in rows if row.meaning is Meaning.REFUSED]
        lines += [
            "Refused, unless the value asks for nothing, as null and those in brackets do: "
            + ", ".join(map(_refused, refused))
            + ".",
            "",
        ]
    lines += [
        "## The contract",
        "",
        "Optional fields; a model's card lists those that it honours by the last part of their path.",
        "",
        "| field | type | values | default | honoured by models that |",
        "| --- | --- | --- | --- | --- |",
    ]
    lines += [_field(field) for field in fields if field.honoured_by is not None]
    return "\n".join(lines) + "\n"


_WHO = {
    Honour.GENERATING: "generate",
    Honour.CHATTING: "have a chat template",
    Honour.EMBEDDING: "embed",
    Honour.SHORTENING: "embed, and whose vectors may be cut",
    Honour.NONE: "none yet: refused",
    Honour.CONSTRAINING: "generate with an engine that can be constrained",
    Honour.INFILLING: "can fill in the middle",
}


def _rest(row: RestParameter, later: Collection[str]) -> str:
    sets = f"`{row.field}`" if row.field else ""
    notes = [f"the same as `{row.alias_of}`"] if row.alias_of else []
    notes += ["required"] if row.required else []
    notes += ["not supported yet"] if row.field in later else []
    notes += [row.note] if row.note else []
    default = "" if row.default is None else _default(row.default, "bool" if row.shape == "boolean" else "")
    shape = row.shape.replace("|", " or ")
    return f"| `{row.name}` | {shape} | {_values(row)} | {default} | {sets} | {'; '.join(notes)} |"


def _field(field: ContractField) -> str:
    assert field.honoured_by is not None
    default = "" if field.default is None else _default(field.default, field.type)
    name = f"`{field.request}.{field.path}`"
    return f"| {name} | `{field.type}` | {_values(field)} | {default} | {_WHO[field.honoured_by]} |"


def _default(value: float, kind: str) -> str:
    return str(bool(value)).lower() if kind == "bool" else f"{value:g}"


def _values(row: ContractField | RestParameter) -> str:
    unit = row.unit if isinstance(row, ContractField) else "characters" * ("string" in row.shape)
    parts = []
    if row.range is not None:
        open_end = (
            row.range if row.range.most < _UINT32_MAX else dataclasses.replace(row.range, most=math.inf)
        )
        parts.append(f"{open_end.words()} {unit}".strip())
    if row.max_items is not None:
        parts.append(f"at most {row.max_items} entries")
    return ", ".join(parts)


def _names(rows: Iterable[RestParameter], meaning: Meaning) -> str:
    return ", ".join(f"`{row.name}`" for row in rows if row.meaning is meaning)


def _refused(row: RestParameter) -> str:
    nothing = " or ".join(f"`{json.dumps(value)}`" for value in row.nothing)
    return f"`{row.name}` ({nothing})" if nothing else f"`{row.name}`"
