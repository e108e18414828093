"""Fields that answers have beside OpenAI's are found, and documented."""

from pathlib import Path
from typing import Any

from shapes.extensions import NAMES
from shapes.leftover import Described

DOCUMENT: dict[str, Any] = {
    "components": {
        "schemas": {
            "A": {"allOf": [{"properties": {"a": {"type": "integer"}}}, {"$ref": "#/components/schemas/B"}]},
            "B": {
                "properties": {
                    "list": {"type": "array", "items": {"anyOf": [{"$ref": "#/components/schemas/C"}]}},
                    "free": {"type": "object"},
                }
            },
            "C": {"properties": {"c": {}, "again": {"$ref": "#/components/schemas/C"}}},
        }
    }
}


def test_what_no_schema_has_is_found_at_any_depth() -> None:
    """Through references, branches and lists; an object that is not described may have any field."""
    value = {
        "a": 1,
        "x": 2,
        "free": {"anything": 1},
        "list": [{"c": 1}, {"y": 1, "again": {"z": 1}}],
    }
    found = Described(DOCUMENT).leftover(value, [{"$ref": "#/components/schemas/A"}])
    assert list(found) == ["x", "list[].y", "list[].again.z"]


def test_every_extension_is_documented() -> None:
    """On the page of extensions."""
    page = (Path(__file__).parents[2] / "docs/extensions.md").read_text()
    assert [name for name in sorted(NAMES) if f"`{name}`" not in page] == []
