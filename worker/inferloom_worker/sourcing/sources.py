"""Where a model comes from: what a person types, resolved to files on this machine.

Only data is ever loaded: safetensors, GGUF, JSON and templates; never pickles, never Python from a model.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

from inferloom_worker.sourcing import demo, hub
from inferloom_worker.sourcing.amounts import Counted, uncounted
from inferloom_worker.sourcing.echo_options import EchoOptions
from inferloom_worker.sourcing.lfs_pointer import CheckpointError, refuse_pointer
from inferloom_worker.sourcing.spec import is_path

_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")


_LONGEST_SPEC = 4096
"""Characters; no path is longer on Linux."""


_LATER_PART = re.compile(r"-(?!00001)\d{5}-of-\d{5}\.gguf$", re.IGNORECASE)
"""The end of the name of a file that is a part of a model, and not the first."""


class SourceError(ValueError):
    """A model cannot be found or must not be loaded; the message says why and what to do."""


class SourceKind(Enum):
    """What a source is made of."""

    GGUF = "gguf"
    FOLDER = "folder"
    ECHO = "echo"
    OWN = "own"
    """Something that only its engine understands."""


@dataclass(frozen=True, slots=True)
class ModelSource:
    """A model on this machine: ``path`` is the GGUF file or the folder; None where its engine needs none."""

    spec: str
    kind: SourceKind
    path: Path | None = None
    engine: str | None = None
    """The engine that was asked for by name. None: the usual one."""
    query: str = ""
    """What stood behind a question mark: options of the engine's own."""

    @property
    def root(self) -> str:
        """How the model's card names what it was made from; shows no folders of this machine."""
        given = Path(self.spec).expanduser()
        local = self.path is not None and given in (self.path, self.path.parent)
        return self.path.name if self.path is not None and local else self.spec


def resolve(
    spec: str,
    cache_dir: Path | None = None,
    on_progress: Callable[[str], None] = lambda _: None,
    on_bytes: Counted = uncounted,
) -> ModelSource:
    """Find the model that ``spec`` names, fetching it where needed. Blocking.

    ``spec`` is a demo model's id, ``echo`` with options, a GGUF file, a folder, or a hub id, in this order.

    Args:
        spec: What a person typed.
        cache_dir: As in :func:`inferloom_worker.sourcing.demo.cache_folder`.
        on_progress: Told in a few words what happens.
        on_bytes: Told how much of a hub's model has come.

    Raises:
        SourceError: There is no such model, or it holds nothing that may be loaded.
    """
    path = _path(spec)
    if spec in demo.MODELS:
        try:
            return _local(spec, demo.fetch(spec, cache_dir, on_progress))
        except demo.FetchError as failure:
            raise SourceError(str(failure)) from failure
    if spec == "echo" or spec.startswith("echo:"):
        try:
            EchoOptions.parse(spec)
        except ValueError as failure:
            raise SourceError(str(failure)) from failure
        return ModelSource(spec, SourceKind.ECHO)
    if path.exists():
        return _local(spec, path)
    require_present(spec)
    if not _HUB_ID.fullmatch(spec):
        known = ", ".join(demo.MODELS)
        raise SourceError(
            f"{spec!r} is no model that is known here ({known}), no file or folder, and no hub id"
        )
    folder = _from_hub(spec, on_progress, on_bytes)
    if not any(folder.glob("*.safetensors")):
        raise SourceError(
            f"{spec} holds no *.safetensors files on the model hub; a model in GGUF is for you to fetch, and "
            "is given by the path of its file"
        )
    return _local(spec, folder)


def require_present(spec: str) -> None:
    """Make sure that a file or folder is there, if ``spec``, without an engine's name, names one. Quick, and
    fetches nothing.

    Raises:
        SourceError: It is not.
    """
    if is_path(spec) and not _path(spec).exists():
        raise SourceError(f"{spec} does not exist")


def resolve_adapter(
    spec: str, on_progress: Callable[[str], None] = lambda _: None, on_bytes: Counted = uncounted
) -> Path:
    """Find the folder of the adapter that ``spec`` names: a folder or a hub id. Blocking.

    Raises:
        SourceError: There is no such adapter.
    """
    path = _path(spec)
    if path.is_dir():
        return path
    if path.exists():
        raise SourceError(f"{path.name} is a file; an adapter is given as its folder")
    require_present(spec)
    if not _HUB_ID.fullmatch(spec):
        raise SourceError(f"{spec!r} is no folder and no hub id")
    return _from_hub(spec, on_progress, on_bytes)


def _path(spec: str) -> Path:
    """The path that a spec would be.

    Raises:
        SourceError: The system takes no such path.
    """
    if not spec:
        raise SourceError("a spec names a model or an adapter, and this one is empty")
    if len(spec) > _LONGEST_SPEC or "\0" in spec:
        raise SourceError(f"a spec has at most {_LONGEST_SPEC} characters, none of them NUL")
    try:
        path = Path(spec).expanduser()
        path.exists()  # raises where the system does not even look
    except (OSError, RuntimeError, ValueError) as failure:
        reason = failure.strerror if isinstance(failure, OSError) else failure
        raise SourceError(f"{spec[:128]!r} cannot be opened: {reason}") from failure
    return path


def _local(spec: str, path: Path) -> ModelSource:
    try:
        return _file(spec, path) if path.is_file() else _folder(spec, path)
    except OSError as failure:
        raise SourceError(f"{path.name} cannot be opened: {failure.strerror}") from failure


def _file(spec: str, path: Path) -> ModelSource:
    # By its content: Ollama's blobs have no suffix. What has the suffix is told when it is read.
    if path.suffix.lower() == ".gguf" or _begins_as_gguf(path):
        return ModelSource(spec, SourceKind.GGUF, path)
    raise SourceError(f"{path.name} is not a GGUF file; a model in safetensors is given as its folder")


def _begins_as_gguf(path: Path) -> bool:
    # Not asked of weights/gguf.py: what it imports is of no use to a worker without GGUF files.
    with path.open("rb") as file:
        return file.read(4) == b"GGUF"


def _folder(spec: str, path: Path) -> ModelSource:
    if files := sorted(path.glob("*.safetensors")):
        for file in files:
            try:
                refuse_pointer(file)
            except CheckpointError as failure:
                raise SourceError(str(failure)) from failure
        return ModelSource(spec, SourceKind.FOLDER, path)
    if found := [file for file in sorted(path.iterdir()) if file.suffix.lower() == ".gguf"]:
        # The parts of one model are named by the first.
        models = [file for file in found if not _LATER_PART.search(file.name)]
        if len(models) == 1:
            return ModelSource(spec, SourceKind.GGUF, models[0])
        raise SourceError(
            f"{path.name} is a folder with {len(found)} GGUF files; name one of them, such as {found[0].name}"
        )
    if any(p.suffix in (".bin", ".pt", ".pth", ".ckpt") for p in path.iterdir()):
        raise SourceError(
            f"{path.name} holds its weights only as pickles, which can run code when they are loaded; "
            "convert them to safetensors"
        )
    raise SourceError(f"{path.name} holds no *.safetensors files")


def _from_hub(repo: str, on_progress: Callable[[str], None], on_bytes: Counted) -> Path:
    on_progress(f"asking the model hub for {repo}")
    try:
        return hub.fetch(repo, on_bytes)
    except hub.HubError as failure:
        raise SourceError(str(failure)) from failure
