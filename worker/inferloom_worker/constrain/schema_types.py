"""The values that a JSON Schema plainly has, and whether two can have one in common. Pure."""

from typing import Any

from inferloom_worker.constrain.schema_places import Schema, resolve

TYPES = ("null", "boolean", "number", "string", "array", "object")

_DEPTH = 6


def type_of(value: Any) -> str:
    """The type of a JSON value; of whole numbers too it is ``number``."""
    if isinstance(value, bool):
        return "boolean"
    if isinstance(value, int | float):
        return "number"
    kinds = {type(None): "null", str: "string", list: "array", dict: "object"}
    return kinds[type(value)]


def types_of(schema: dict[str, Any]) -> frozenset[str]:
    """The types that values of a schema can have, as its own keywords say."""
    found = frozenset(TYPES)
    stated = schema.get("type")
    if stated is not None:
        names = stated if isinstance(stated, list) else [stated]
        found &= frozenset("number" if name == "integer" else str(name) for name in names)
    if (values := values_of(schema)) is not None:
        found &= frozenset(map(type_of, values))
    return found


def values_of(schema: dict[str, Any]) -> list[Any] | None:
    """The values that a schema lists; None: it lists none."""
    if "const" in schema:
        return [schema["const"]]
    values = schema.get("enum")
    return values if isinstance(values, list) else None


def same(one: Any, other: Any) -> bool:
    """Whether two JSON values are equal: true is not 1, and 1.0 is."""
    return type_of(one) == type_of(other) and bool(one == other)


def property_schema(schema: dict[str, Any], name: Any) -> Any:
    """What the schema says of a property, as far as that is one schema; True where it is not."""
    properties = schema.get("properties")
    if isinstance(properties, dict) and name in properties:
        return properties[name]
    if schema.get("patternProperties"):
        return True
    return schema.get("additionalProperties", True)


class Overlap:
    """Whether schemas within ``root`` can have a value in common.

    Args:
        root: What references are to.
        budget: Comparisons that may be made; what is not known by then may have one. Where schemas list many
            values or names, sixteen of those count as one.
    """

    def __init__(self, root: Schema, budget: int = 20_000) -> None:
        self._root = root
        self._budget = budget

    def affords(self, comparisons: int) -> bool:
        """Whether so many can still be made."""
        return comparisons <= self._budget

    def disjoint(self, one: Any, other: Any, depth: int = 0) -> bool:
        """Whether it is plain that no value conforms to both."""
        self._budget -= 1
        one, other = resolve(self._root, one), resolve(self._root, other)
        if one is False or other is False:
            return True
        if not isinstance(one, dict) or not isinstance(other, dict) or depth > _DEPTH or self._budget < 0:
            return False
        self._budget -= (_size(one) + _size(other) + _listed(one) * _listed(other)) // 16
        if self._budget < 0:
            return False
        if self._by_parts(one, other, depth) or self._by_parts(other, one, depth):
            return True
        shared = types_of(one) & types_of(other)
        if not shared:
            return True
        listed, others = values_of(one), values_of(other)
        if listed is not None and others is not None:
            return not any(same(value, each) for value in listed for each in others)
        return shared == {"object"} and (
            self._by_property(one, other, depth) or self._by_property(other, one, depth)
        )

    def _by_parts(self, one: dict[str, Any], other: dict[str, Any], depth: int) -> bool:
        for keyword in ("anyOf", "oneOf"):
            parts = one.get(keyword)
            if isinstance(parts, list) and all(self.disjoint(part, other, depth + 1) for part in parts):
                return True
        parts = one.get("allOf")
        return isinstance(parts, list) and any(self.disjoint(part, other, depth + 1) for part in parts)

    def _by_property(self, one: dict[str, Any], other: dict[str, Any], depth: int) -> bool:
        """Whether objects of ``one`` must have a property that those of ``other`` cannot have so."""
        needed, also = names_of(one), frozenset(names_of(other))
        for name in needed:
            there = property_schema(other, name)
            if there is False:
                return True
            if name in also and self.disjoint(property_schema(one, name), there, depth + 1):
                return True
        return False


def _listed(schema: dict[str, Any]) -> int:
    return len(values_of(schema) or ())


def _size(schema: dict[str, Any]) -> int:
    """Values and names that a comparison looks through."""
    return _listed(schema) + len(names_of(schema))


def names_of(schema: dict[str, Any]) -> list[str]:
    """The properties that a schema requires."""
    required = schema.get("required")
    return [name for name in required if isinstance(name, str)] if isinstance(required, list) else []
