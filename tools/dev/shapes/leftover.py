"""The fields of a JSON value that no schema of a document describes."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

Schema = Mapping[str, Any]

_BRANCHES = ("allOf", "anyOf", "oneOf")


class Described:
    """Knows the schemas of an OpenAPI document.

    Args:
        document: The document.
    """

    def __init__(self, document: Mapping[str, Any]) -> None:
        self._schemas: Mapping[str, Schema] = document["components"]["schemas"]

    def leftover(self, value: Any, schemas: Sequence[Schema], at: str = "") -> Iterator[str]:
        """The paths of fields, such as ``choices[].message.reasoning``, that none of ``schemas`` has. An
        object of which no field is described may have any."""
        flat = [flat for schema in schemas for flat in self._flat(schema)]
        if isinstance(value, list):
            items = [schema["items"] for schema in flat if isinstance(schema.get("items"), Mapping)]
            for item in value:
                yield from self.leftover(item, items, f"{at}[]")
        if not isinstance(value, Mapping) or not any("properties" in schema for schema in flat):
            return
        for name, inner in value.items():
            known = [schema["properties"][name] for schema in flat if name in schema.get("properties", ())]
            place = f"{at}.{name}" if at else name
            if known:
                yield from self.leftover(inner, known, place)
            else:
                yield place

    def _flat(self, schema: Schema, seen: frozenset[str] = frozenset()) -> Iterator[Schema]:
        """A schema and all that it is put together of."""
        if (ref := schema.get("$ref")) is not None:
            name = str(ref).rpartition("/")[2]
            if name not in seen:
                yield from self._flat(self._schemas[name], seen | {name})
            return
        yield schema
        for word in _BRANCHES:
            for branch in schema.get(word, ()):
                yield from self._flat(branch, seen)
