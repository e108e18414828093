"""Reads the parameter table from the contract's options and ``rest.textproto``."""

import json
import math
import sys
import tempfile
from collections.abc import Iterator
from importlib.resources import files
from pathlib import Path
from typing import Any, Self

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory, text_format
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from grpc_tools import protoc  # type: ignore[import-untyped] # it ships no types

from inferloom.parameter_table import ContractField, Honour, Meaning, Range, RestEndpoint, RestParameter

ROOT = Path(__file__).parents[2] / "protos"
REST = ROOT / "inferloom/v1/rest.textproto"
PACKAGE = "inferloom.v1"
UINT32_MAX = 2**32 - 1
_HONOURED = ("GenerateRequest", "EmbedRequest")
"""Requests whose optional fields models honour or not."""

_UNSIGNED = (FieldDescriptor.TYPE_UINT32,)
_TYPES = {
    FieldDescriptor.TYPE_FLOAT: "float",
    FieldDescriptor.TYPE_BOOL: "bool",
    FieldDescriptor.TYPE_STRING: "string",
    FieldDescriptor.TYPE_UINT32: "uint32",
    FieldDescriptor.TYPE_UINT64: "uint64",
    FieldDescriptor.TYPE_SINT32: "sint32",
}


def run_protoc(*args: str) -> None:
    """Run the compiler on every proto of the contract; end the program if it fails."""
    protos = sorted(str(p.relative_to(ROOT)) for p in ROOT.rglob("*.proto"))
    well_known = str(files("grpc_tools") / "_proto")
    # The plugins live beside this interpreter, which need not be on PATH.
    plugins = [
        f"--plugin={p}={Path(sys.executable).parent / p}" for p in ("protoc-gen-mypy", "protoc-gen-mypy_grpc")
    ]
    status = protoc.main(["protoc", f"-I{ROOT}", f"-I{well_known}", *plugins, *args, *protos])
    if status:
        sys.exit(status)


class TableError(ValueError):
    """A row contradicts the contract; the message names it."""


class Source:
    """The contract's descriptors, with their options.

    Args:
        descriptors: A serialised FileDescriptorSet of the contract and all that it imports.
    """

    def __init__(self, descriptors: bytes) -> None:
        self._pool = descriptor_pool.DescriptorPool()
        for file in descriptor_pb2.FileDescriptorSet.FromString(descriptors).file:
            self._pool.Add(file)
        options = self._pool.FindMessageTypeByName("google.protobuf.FieldOptions")
        self._options: Any = message_factory.GetMessageClass(options)
        self._param = self._pool.FindExtensionByName(f"{PACKAGE}.param")
        self._pool.FindMessageTypeByName(f"{PACKAGE}.Param")

    @classmethod
    def compiled(cls) -> Self:
        """That of the contract as it stands."""
        with tempfile.TemporaryDirectory() as folder:
            out = Path(folder) / "descriptors"
            run_protoc(f"--descriptor_set_out={out}", "--include_imports")
            return cls(out.read_bytes())

    def message(self, name: str) -> Descriptor:
        """The descriptor of a message of the contract."""
        return self._pool.FindMessageTypeByName(f"{PACKAGE}.{name}")

    def table(self, text: str) -> Any:
        """The RestTable that a text holds."""
        table = message_factory.GetMessageClass(self.message("RestTable"))()
        text_format.Parse(text, table)
        return table

    def param(self, field: FieldDescriptor) -> Any:
        """A field's option; None: it has none."""
        options = self._options.FromString(field.GetOptions().SerializeToString())
        return options.Extensions[self._param] if options.HasExtension(self._param) else None

    def fields(self, request: str) -> list[ContractField]:
        """Every field under a request that is no message of ours, and every message with an option.

        None where an endpoint's bodies become no message.
        """
        if not request:
            return []
        return list(self._walk(request, self.message(request), ""))

    def _walk(self, request: str, message: Descriptor, prefix: str) -> Iterator[ContractField]:
        for field in message.fields:
            param = self.param(field)
            inner = field.message_type
            ours = inner is not None and inner.file.package == PACKAGE and not inner.GetOptions().map_entry
            if param is not None or not ours:
                yield _field(request, prefix + field.name, field, param)
            if inner is not None and ours:
                many = "[]" if field.is_repeated else ""
                yield from self._walk(request, inner, f"{prefix}{field.name}{many}.")


def _type(field: FieldDescriptor) -> str:
    inner = field.message_type
    if inner is None:
        name = str(field.enum_type.name) if field.enum_type is not None else _TYPES[field.type]
    elif inner.GetOptions().map_entry:
        return "map<{}, {}>".format(*(_type(part) for part in inner.fields))
    else:
        name = str(inner.name)
    return f"repeated {name}" if field.is_repeated else name


def _field(request: str, path: str, field: FieldDescriptor, param: Any) -> ContractField:
    more: dict[str, Any] = {}
    if param is not None:
        more = {
            name: getattr(param, name)
            for name in ("default", "unit", "min_items", "max_items")
            if (param.HasField(name) if name != "unit" else param.unit)
        }
        if param.honoured_by and request in _HONOURED:
            more["honoured_by"] = list(Honour)[param.honoured_by - 1]
        least, most = _bounds(field)
        given = param.HasField("min") or param.HasField("max")
        if given or (field.type in _UNSIGNED and more.get("honoured_by") is not None):
            more["range"] = Range(
                param.min if param.HasField("min") else least,
                param.max if param.HasField("max") else most,
                param.above_min,
            )
    return ContractField(request=request, path=path, type=_type(field), **more)


def _bounds(field: FieldDescriptor) -> tuple[float, float]:
    if field.type in _UNSIGNED:
        return 0, UINT32_MAX
    return (0, math.inf) if field.type == FieldDescriptor.TYPE_STRING else (-math.inf, math.inf)


def endpoints(table: Any, fields: list[ContractField]) -> list[RestEndpoint]:
    """The endpoints with all that each takes.

    Raises:
        TableError: A row names an endpoint or a field that there is not, or one that another row has; or a
            field has no row.
    """
    found = [(each, _parameters(each, table, fields)) for each in table.endpoints]
    unknown = {name for row in table.rows for name in row.on} - {each.name for each, _ in found}
    if unknown:
        raise TableError(f"rest.textproto: no such endpoint: {', '.join(sorted(unknown))}")
    reached = {(each.request, row.field) for each, rows in found for row in rows.values() if row.field}
    for only in table.grpc_only:
        request, _, path = only.field.partition(".")
        reached.add((request, path))
    served = {each.request for each, _ in found}
    for known in fields:
        if known.request in served and not _reached(known, reached):
            where = f"{known.request}.{known.path}"
            raise TableError(f"rest.textproto: {where} has no row, and is not among grpc_only")
    return [RestEndpoint(each.name, each.path, each.request, rows) for each, rows in found]


def _reached(field: ContractField, reached: set[tuple[str, str]]) -> bool:
    """Whether a row sets the field, or a message around it as a whole."""
    paths = {path.replace("[]", "") for request, path in reached if request == field.request}
    parts = field.path.replace("[]", "").split(".")
    if any(path.startswith(".".join(parts) + ".") for path in paths):
        return True  # a message whose fields have rows
    for count in range(1, len(parts) + 1):
        way = ".".join(parts[:count])
        if way in paths and not (count < len(parts) and any(p.startswith(f"{way}.") for p in paths)):
            return True
    return False


def _parameters(endpoint: Any, table: Any, fields: list[ContractField]) -> dict[str, RestParameter]:
    known = {field.path: field for field in fields if field.request == endpoint.request}
    rows: dict[str, RestParameter] = {}
    for row in table.rows:
        if endpoint.name not in row.on:
            continue
        for name in (row.name, *row.aliases):
            if name in rows:
                raise TableError(f"rest.textproto: {endpoint.name} has two rows for {name}")
            alias_of = "" if name == row.name else row.name
            rows[name] = _parameter(row, name, alias_of, known, endpoint.name)
    for row in table.rows:
        if endpoint.request and not row.on and row.name not in rows:
            rows[row.name] = _parameter(row, row.name, "", known, endpoint.name)
    return rows


def _exact(most: float) -> float:
    """The largest uint64 where it was meant: no double is that number."""
    return 2**64 - 1 if most == 2.0**64 else most


def _parameter(
    row: Any, name: str, alias_of: str, known: dict[str, ContractField], endpoint: str
) -> RestParameter:
    meaning = Meaning(
        {"refused": "refused", "hint": "hint", "own": "own"}.get(row.WhichOneof("meaning"), "field")
    )
    more: dict[str, Any] = {"note": row.note or row.own}
    if meaning is Meaning.REFUSED:
        more["nothing"] = tuple(json.loads(text) for text in row.refused.nothing)
    own = known.get(row.field)
    around = known.get(row.field.rpartition(".")[0])
    if (
        meaning is Meaning.FIELD
        and own is None
        and (around is None or around.type != "Struct")  # which has names of its own
        and not any(
            path.startswith((f"{row.field.removesuffix('[]')}.", f"{row.field.removesuffix('[]')}[]."))
            for path in known
        )
    ):
        raise TableError(
            f"rest.textproto: {endpoint} has {name}, for {row.field or 'nothing'}, which is no field"
        )
    for item in ("default", "min_items", "max_items"):
        value = getattr(row, item) if row.HasField(item) else getattr(own, item, None)
        if value is not None:
            more[item] = value
    # A text's length is none of the object's that it is in.
    given = own.range if own is not None and (row.shape != "object" or own.type != "string") else None
    if row.HasField("min") or row.HasField("max"):
        base = given or Range()
        given = Range(
            row.min if row.HasField("min") else base.least,
            _exact(row.max) if row.HasField("max") else base.most,
            row.above_min,
        )
    return RestParameter(
        name=name,
        meaning=meaning,
        field=row.field,
        shape=row.shape,
        range=given,
        required=row.required,
        alias_of=alias_of,
        **more,
    )
