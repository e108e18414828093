"""GGUF files: typed metadata and memory-mapped tensors.

Format: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md (versions 2 and 3, little-endian).
The ``gguf`` package supplies the quantisation types and their exact dequantisation; its own reader makes a
Python object of every element of every array, which takes seconds for a vocabulary, so the header is read
here. A model in several files is read whole, given its first one.
"""

import math
import mmap
import re
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from gguf import GGML_QUANT_SIZES, GGMLQuantizationType
from gguf.quants import _type_traits, dequantize
from numpy.typing import NDArray

from inferloom_worker.sourcing.lfs_pointer import CheckpointError, refuse_pointer

MAGIC = b"GGUF"
_PART = re.compile(r"(.+)-(\d{5})-of-(\d{5})(\.gguf)", re.IGNORECASE)
"""What the files of a model in parts are called."""
_MAX_ITEMS = 1 << 28
"""More elements than this in one array or header mean a damaged file, not a large one."""

# Value types 0 to 12 as struct formats; 8 is a string and 9 an array.
_SCALARS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}
_STRING, _ARRAY = 8, 9
_MOST_DIMENSIONS = 4
_MOST_ROWS = 1 << 40
_FLOATS = (GGMLQuantizationType.F32, GGMLQuantizationType.F16, GGMLQuantizationType.BF16)


class GgufError(ValueError):
    """The file is not a GGUF file that can be read; the message says why."""


@dataclass(frozen=True, slots=True)
class GgufTensor:
    """One tensor: ``shape`` is in row-major order (rows first), ``data`` its raw bytes in the file."""

    name: str
    type: GGMLQuantizationType
    shape: tuple[int, ...]
    data: NDArray[np.uint8]

    @property
    def readable(self) -> bool:
        """Whether the numbers that it stands for can be computed."""
        return self.type in _FLOATS or self.type in _type_traits

    def dequantized(self) -> NDArray[np.float32]:
        """The exact float32 numbers that the file stands for."""
        flat: NDArray[np.float32] = dequantize(
            self.data.reshape(self.shape[0], -1) if len(self.shape) > 1 else self.data, self.type
        )
        return flat.reshape(self.shape)


@dataclass(frozen=True, slots=True)
class GgufFile:
    """An open file; tensors stay mapped for as long as one of them is referenced."""

    path: Path
    metadata: Mapping[str, Any]
    tensors: Mapping[str, GgufTensor]
    parts: tuple[Path, ...] = ()
    """All files of a model in several ones, the first of which is ``path``; empty: there is only one."""

    @property
    def architecture(self) -> str:
        """The architecture's GGUF name, such as ``llama``; metadata keys are prefixed with it.

        Raises:
            GgufError: The file does not say.
        """
        name = self.metadata.get("general.architecture")
        if not isinstance(name, str):
            raise GgufError(f"{self.path.name} has no general.architecture")
        return name

    def tensor(self, name: str) -> GgufTensor:
        """The tensor ``name``.

        Raises:
            GgufError: There is none.
        """
        if name not in self.tensors:
            raise GgufError(f"{self.path.name} has no tensor {name}")
        return self.tensors[name]

    def number(self, key: str, default: Any = None) -> Any:
        """The metadata value of ``{architecture}.{key}``, which is a number that is not negative.

        Raises:
            GgufError: It is something else.
        """
        value = self.value(key, default)
        if value is not default and (
            isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < math.inf
        ):
            raise GgufError(f"{self.path.name} has {key} {value!r}")
        return value

    def value(self, key: str, default: Any = None) -> Any:
        """The metadata value of ``{architecture}.{key}``."""
        return self.metadata.get(f"{self.architecture}.{key}", default)


def read_gguf(path: Path) -> GgufFile:
    """Open a GGUF file, and if it is the first of several, all of them.

    Raises:
        GgufError: It is none, is damaged or of a form that is not read, or is a part without the others.
        OSError: A file cannot be opened.
    """
    first = _read(path)
    count = first.metadata.get("split.count", 1)
    if not isinstance(count, int) or count < 2:
        return first
    others = [_read(part) for part in _other_parts(first, count)]
    tensors = dict(first.tensors)
    for place, other in enumerate(others, 1):
        if (other.metadata.get("split.no"), other.metadata.get("split.count")) != (place, count):
            raise GgufError(f"{other.path.name} is not part {place + 1} of {count} of the same model")
        if twice := tensors.keys() & other.tensors.keys():
            raise GgufError(f"{other.path.name} holds {min(twice)}, which an earlier part holds too")
        tensors |= other.tensors
    if len(tensors) != (total := first.metadata.get("split.tensors.count", len(tensors))):
        raise GgufError(f"the parts of {path.name} hold {len(tensors)} tensors, and it counts {total}")
    return GgufFile(path, first.metadata, tensors, (path, *(other.path for other in others)))


def _other_parts(first: GgufFile, count: int) -> list[Path]:
    """The files that follow the first of a model in ``count`` parts."""
    path, merge = first.path, "or merge them with llama-gguf-split --merge"
    number = first.metadata.get("split.no", 0)
    named = _PART.fullmatch(path.name)
    if number != 0:
        first_name = f"{named[1]}-00001-of-{count:05d}{named[4]}" if named else "the first one"
        raise GgufError(f"{path.name} is part {number + 1} of {count}; name {first_name}, {merge}")
    if named is None or int(named[3]) != count:
        raise GgufError(
            f"{path.name} is one of {count} parts, and its name does not say what the others are called; "
            f"name it NAME-00001-of-{count:05d}.gguf, {merge}"
        )
    parts = [path.with_name(f"{named[1]}-{i:05d}-of-{count:05d}{named[4]}") for i in range(2, count + 1)]
    if missing := next((part for part in parts if not part.is_file()), None):
        raise GgufError(f"{path.name} is one of {count} parts, and {missing.name} is not beside it")
    return parts


def _read(path: Path) -> GgufFile:
    """One file."""
    try:
        refuse_pointer(path)
    except CheckpointError as failure:
        raise GgufError(str(failure)) from failure
    with path.open("rb") as file:
        try:
            view = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        except ValueError as failure:
            raise GgufError(f"{path.name} is empty") from failure
    try:
        return _parse(path, view)
    except (struct.error, IndexError, UnicodeDecodeError, KeyError, OverflowError, RecursionError) as failure:
        raise GgufError(f"{path.name} is damaged: its header cannot be read") from failure


def _parse(path: Path, view: mmap.mmap) -> GgufFile:
    cursor = _Cursor(view)
    if view[:4] != MAGIC:
        raise GgufError(f"{path.name} is not a GGUF file")
    cursor.at = 4
    version = cursor.scalar("I")
    if version & 0xFFFF == 0 and version:
        raise GgufError(f"{path.name} is big-endian; only little-endian files can be read")
    if version not in (2, 3):
        raise GgufError(f"{path.name} has GGUF version {version}; 2 and 3 can be read")
    tensor_count, key_count = cursor.count(), cursor.count()
    metadata = {}
    for _ in range(key_count):
        key = cursor.string()
        metadata[key] = cursor.value(cursor.scalar("I"))
    entries = [cursor.tensor() for _ in range(tensor_count)]
    alignment = metadata.get("general.alignment", 32)
    if not isinstance(alignment, int) or alignment < 8 or alignment % 8:
        raise GgufError(f"{path.name} has an alignment of {alignment}; it must be a multiple of 8")
    start = -(-cursor.at // alignment) * alignment
    raw = np.frombuffer(view, dtype=np.uint8)
    tensors = {}
    for name, shape, kind, offset in entries:
        if name in tensors:
            raise GgufError(f"{path.name} has two tensors {name}")
        block, size = GGML_QUANT_SIZES[kind]
        if shape[-1] % block:
            raise GgufError(f"{path.name} has rows of {shape[-1]} in {name}, no whole blocks of {kind.name}")
        length = math.prod(shape) // block * size
        data = raw[start + offset : start + offset + length]
        if len(data) != length:
            raise GgufError(f"{path.name} is cut short: tensor {name} is incomplete")
        if shape and shape[-1] % block:
            raise GgufError(
                f"{path.name} is damaged: rows of {name} are no whole number of {kind.name} blocks"
            )
        tensors[name] = GgufTensor(name, kind, shape, data)
    return GgufFile(path, metadata, tensors)


class _Cursor:
    """Reads the header's primitive values in order."""

    def __init__(self, view: mmap.mmap) -> None:
        self.view = view
        self.at = 0

    def scalar(self, form: str) -> Any:
        (value,) = struct.unpack_from("<" + form, self.view, self.at)
        self.at += struct.calcsize("<" + form)
        return value

    def count(self) -> int:
        value = int(self.scalar("Q"))
        if value > _MAX_ITEMS:
            raise GgufError(f"the header counts {value} items: the file is damaged")
        return value

    def string(self) -> str:
        length = self.count()
        self.at += length
        return self.view[self.at - length : self.at].decode()

    def value(self, kind: int) -> Any:
        if kind == _STRING:
            return self.string()
        if kind != _ARRAY:
            return self.scalar(_SCALARS[kind])
        item, length = self.scalar("I"), self.count()
        if item == _STRING:
            return [self.string() for _ in range(length)]
        if item == _ARRAY:
            return [self.value(item) for _ in range(length)]
        return list(self._run(_SCALARS[item], length))

    def _run(self, form: str, length: int) -> tuple[Any, ...]:
        start = self.at
        self.at += length * struct.calcsize("<" + form)
        return struct.unpack_from(f"<{length}{form}", self.view, start)

    def tensor(self) -> tuple[str, tuple[int, ...], GGMLQuantizationType, int]:
        name = self.string()
        dimensions = self.scalar("I")
        if not 1 <= dimensions <= _MOST_DIMENSIONS:
            raise GgufError(f"tensor {name[:200]} has {dimensions} dimensions")
        shape = tuple(reversed(self._run("Q", dimensions)))
        if not all(0 < size <= _MOST_ROWS for size in shape):
            raise GgufError(f"tensor {name[:200]} has the shape {list(shape)}")
        try:
            kind = GGMLQuantizationType(self.scalar("I"))
        except ValueError as failure:
            raise GgufError(f"tensor {name} has an unknown type") from failure
        return name, shape, kind, self.scalar("Q")
