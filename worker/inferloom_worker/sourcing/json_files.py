"""The JSON files of a model's folder."""

import json
from pathlib import Path
from typing import Any


def read_object(file: Path) -> dict[str, Any]:
    """The JSON object in a file; empty if there is no such file.

    Raises:
        ValueError: It holds something else.
    """
    if not file.is_file():
        return {}
    name = f"{file.parent.name}/{file.name}"
    try:
        value = json.loads(file.read_text(encoding="utf-8"))
    except ValueError as failure:
        raise ValueError(f"{name} is not JSON: {failure}") from failure
    if not isinstance(value, dict):
        raise ValueError(f"{name} holds no JSON object")
    return value
