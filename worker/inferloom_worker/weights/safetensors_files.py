"""The safetensors files of a folder: which tensor is in which, and how a file that cannot be read is told."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open

from inferloom_worker.sourcing.json_files import read_object
from inferloom_worker.sourcing.lfs_pointer import CheckpointError, refuse_pointer

INDEX = "model.safetensors.index.json"


def stored_tensors(folder: Path) -> dict[str, Path]:
    """Tensors by their names in the files, and the file of each. Reads the index, or else each file's header.

    Raises:
        FileNotFoundError: The folder has no safetensors file, or its index names one that is not there.
        CheckpointError: The index is in no form that is known, or a file is damaged.
    """
    found: dict[str, Path] = {}
    if (folder / INDEX).exists():
        names = read_object(folder / INDEX).get("weight_map")
        if not isinstance(names, dict) or not names or not all(isinstance(f, str) for f in names.values()):
            raise CheckpointError(f"{INDEX} has no weight_map from tensors to files")
        found = {name: folder / Path(file).name for name, file in names.items()}
        if missing := sorted({path.name for path in found.values() if not path.is_file()}):
            raise FileNotFoundError(f"{folder.name} lacks {missing[0]}, which its {INDEX} names")
    else:
        for path in sorted(folder.glob("*.safetensors")):
            with open_safetensors(path) as file:
                found.update(dict.fromkeys(file.keys(), path))
    if not found:
        raise FileNotFoundError(f"{folder.name} has no safetensors weights")
    return found


def tensor_shapes(folder: Path) -> dict[str, tuple[int, ...]]:
    """The shape of each tensor in a folder, by its name in the files.

    Raises:
        FileNotFoundError, CheckpointError: As :func:`stored_tensors`.
    """
    shapes: dict[str, tuple[int, ...]] = {}
    for path in sorted(set(stored_tensors(folder).values())):
        with open_safetensors(path, "np") as file:
            shapes |= {name: tuple(file.get_slice(name).get_shape()) for name in file.keys()}  # noqa: SIM118
    return shapes


@contextmanager
def open_safetensors(path: Path, framework: str = "pt") -> Iterator[Any]:
    """An open safetensors file.

    Raises:
        CheckpointError: It is damaged, or a Git LFS pointer; also where it is read inside the block.
    """
    try:
        with safe_open(path, framework) as file:
            yield file
    except SafetensorError as failure:
        refuse_pointer(path)
        raise CheckpointError(f"{path.name} is damaged or cut short: {failure}") from failure
