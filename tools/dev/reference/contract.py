"""The contract as a page: services, messages and enumerations with their comments."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from tempfile import TemporaryDirectory

from google.protobuf import descriptor_pb2 as pb
from parameter_rows import run_protoc

PACKAGE = ".inferloom.v1."
FILES = ("inference", "registry", "worker", "gateway")
"""Those that callers and operators use; what the mesh says to itself is left out."""

_ABOUT = """# The contract

*Made by `make protos` of the comments in `protos/inferloom/v1`, where the ranges and defaults of fields are
too; [parameters](../parameters.md) lists those.*

A gateway serves `InferenceService` and `GatewayService`, a worker `InferenceService` and `WorkerService`, a
registry `RegistryService`. Each answers reflection, so `grpcurl` needs no files.
"""

_KINDS = {value: name.removeprefix("TYPE_").lower() for name, value in pb.FieldDescriptorProto.Type.items()}
_SERVICE, _MESSAGE, _ENUM, _ITEM, _NESTED = 6, 4, 5, 2, 3


def page() -> str:
    """The page, as Markdown."""
    lines = [_ABOUT]
    for file in _files():
        lines += _File(file).lines()
    return "\n".join(lines).rstrip() + "\n"


def _files() -> list[pb.FileDescriptorProto]:
    with TemporaryDirectory() as folder:
        path = Path(folder) / "set.binpb"
        run_protoc("--include_source_info", f"--descriptor_set_out={path}")
        made = pb.FileDescriptorSet.FromString(path.read_bytes())
    named = {Path(file.name).stem: file for file in made.file}
    return [named[name] for name in FILES if name in named]


class _File:
    def __init__(self, file: pb.FileDescriptorProto) -> None:
        self._file = file
        self._comments: Mapping[tuple[int, ...], str] = {
            tuple(place.path): place.leading_comments for place in file.source_code_info.location
        }

    def lines(self) -> Iterator[str]:
        """The part of the page that is about this file."""
        for index, service in enumerate(self._file.service):
            yield from (f"## {service.name}", "", self._said(_SERVICE, index), "")
            for number, method in enumerate(service.method):
                yield from self._method(index, number, method)
        yield from (f"## Messages of {self._file.name}", "")
        for index, message in enumerate(self._file.message_type):
            yield from self._message(message, (_MESSAGE, index))
        for index, enum in enumerate(self._file.enum_type):
            yield from self._enum(enum, index)

    def _method(self, service: int, number: int, method: pb.MethodDescriptorProto) -> Iterator[str]:
        asked, told = _link(method.input_type), _link(method.output_type)
        streams = [f"stream of {told}" if method.server_streaming else told]
        given = f"stream of {asked}" if method.client_streaming else asked
        yield from (f"### {method.name}", "", f"{given} → {streams[0]}", "")
        yield from (self._said(_SERVICE, service, _ITEM, number), "")

    def _message(self, message: pb.DescriptorProto, path: tuple[int, ...]) -> Iterator[str]:
        yield from (f"### {message.name}", "", self._said(*path), "")
        if message.field:
            yield from ("| field | type | |", "| --- | --- | --- |")
        for number, field in enumerate(message.field):
            said = " ".join(self._said(*path, _ITEM, number).split())
            yield f"| `{field.name}` | {_type(message, field)} | {_cell(said)} |"
        yield ""

    def _enum(self, enum: pb.EnumDescriptorProto, index: int) -> Iterator[str]:
        yield from (f"### {enum.name}", "", self._said(_ENUM, index), "", "| value | |", "| --- | --- |")
        for number, value in enumerate(enum.value):
            said = " ".join(self._said(_ENUM, index, _ITEM, number).split())
            yield f"| `{value.name}` | {_cell(said)} |"
        yield ""

    def _said(self, *path: int) -> str:
        lines = [line.strip() for line in self._comments.get(path, "").splitlines()]
        return "\n".join(line for line in lines if not line.startswith("buf:")).strip()


def _type(message: pb.DescriptorProto, field: pb.FieldDescriptorProto) -> str:
    entries = {each.name: each for each in message.nested_type if each.options.map_entry}
    if (entry := entries.get(field.type_name.rpartition(".")[2])) is not None:
        key, value = entry.field
        return f"map of {_KINDS[key.type]} to {_one(value)}"
    alone = _one(field)
    if field.label == field.LABEL_REPEATED:
        return f"repeated {alone}"
    if field.HasField("oneof_index") and not field.proto3_optional:
        return f"{alone}, of `{message.oneof_decl[field.oneof_index].name}`"
    return f"optional {alone}" if field.proto3_optional else alone


def _one(field: pb.FieldDescriptorProto) -> str:
    return _link(field.type_name) if field.type_name else _KINDS[field.type]


def _link(name: str) -> str:
    short = name.rpartition(".")[2]
    return f"[{short}](#{short.lower()})" if name.startswith(PACKAGE) else f"`{name.lstrip('.')}`"


def _cell(text: str) -> str:
    return text.replace("|", "\\|")
