"""What a completion must conform to: in REST's words to the contract's."""

from collections.abc import Iterator

from inferloom.v1 import inference_pb2 as pb
from inferloom_gateway.http.schema.constraints import ConstrainedParameters, ResponseFormat, Schema
from inferloom_gateway.http.translate import options
from inferloom_gateway.http.translate.fields import Rename
from inferloom_gateway.http.translate.tools import missing
from inferloom_mesh.errors import invalid

_CONSTRAINTS = frozenset(
    {
        *("response_format", "structured_outputs", "regex", "grammar"),
        *("guided_json", "guided_regex", "guided_choice", "guided_grammar"),
    }
)
"""The fields that ask for one."""

_FORMAT = "response_format"
_SCHEMA = f"{_FORMAT}.schema"
_OF_TYPES = {"json_schema": ("json_schema",), "schema": ("json_schema", "json_object")}
"""The fields of a format that hold a schema, and the types of the formats that may have them."""


def constraint(body: ConstrainedParameters) -> pb.Constraint | None:
    """What the body asks for; None: nothing.

    Raises:
        InferloomError: It asks for two things at once, or for one that is not there.
    """
    if _CONSTRAINTS.isdisjoint(body.model_fields_set):
        return None
    if body.response_format is not None:
        _check(body.response_format)
    asked = list(_asked(body))
    if len(asked) > 1:
        (first, _), (second, _) = asked[:2]
        raise invalid(second, f"Only one of '{first}' and '{second}' can be given.")
    return asked[0][1] if asked else None


def _check(wanted: ResponseFormat) -> None:
    """A schema that would not be read is refused: whoever sent it relies on it."""
    for field, value in (("json_schema", wanted.json_schema), ("schema", wanted.schema_)):
        if value is not None and wanted.type not in _OF_TYPES[field]:
            types = " or ".join(f"'{each}'" for each in _OF_TYPES[field])
            param = f"{_FORMAT}.{field}"
            raise invalid(param, f"'{param}' is only allowed when the format's type is {types}.")


def named(rename: Rename, body: ConstrainedParameters) -> Rename:
    """``rename``, which names the constraint as this body does."""
    asked = next((name for name, _ in _asked(body)), None)
    if asked is None or asked == _FORMAT:
        return rename
    return lambda path: asked if path.partition(".")[0] == "constraint" else rename(path)


def _asked(body: ConstrainedParameters) -> Iterator[tuple[str, pb.Constraint]]:
    """Each thing that is asked for, with its name."""
    if body.response_format is not None and body.response_format.type != "text":
        wanted = body.response_format
        yield (_FORMAT if wanted.schema_ is None else _SCHEMA), _of_format(wanted)
    if (outputs := body.structured_outputs) is not None:
        yield from _each(
            "structured_outputs.",
            json=outputs.json_,
            regex=outputs.regex,
            choice=outputs.choice,
            grammar=outputs.grammar,
        )
        if outputs.json_object:
            yield "structured_outputs.json_object", pb.Constraint(json_object=True)
    yield from _each(
        "guided_",
        json=body.guided_json,
        regex=body.guided_regex,
        choice=body.guided_choice,
        grammar=body.guided_grammar,
    )
    yield from _each("", regex=body.regex, grammar=body.grammar or None)


def _each(
    prefix: str,
    *,
    json: Schema | None = None,
    regex: str | None = None,
    choice: list[str] | None = None,
    grammar: str | None = None,
) -> Iterator[tuple[str, pb.Constraint]]:
    if json is not None:
        yield f"{prefix}json", pb.Constraint(json_schema=_text(f"{prefix}json", json))
    if regex is not None:
        yield f"{prefix}regex", pb.Constraint(regex=regex)
    if choice is not None:
        yield f"{prefix}choice", pb.Constraint(choice=pb.Choices(texts=choice))
    if grammar is not None:
        yield f"{prefix}grammar", pb.Constraint(lark=grammar)


def _of_format(wanted: ResponseFormat) -> pb.Constraint:
    if wanted.schema_ is not None:
        if wanted.json_schema is not None:
            raise invalid(_SCHEMA, f"Only one of '{_SCHEMA}' and '{_FORMAT}.json_schema' can be given.")
        return pb.Constraint(json_schema=_text(_SCHEMA, wanted.schema_))
    if wanted.type == "json_object":
        return pb.Constraint(json_object=True)
    if wanted.json_schema is None:
        raise missing(f"{_FORMAT}.json_schema")
    return pb.Constraint(json_schema=_text(f"{_FORMAT}.json_schema.schema", wanted.json_schema.schema_))


def _text(param: str, schema: Schema) -> str:
    if isinstance(schema, str):
        return schema
    return options.json_text(param, schema)
