"""Where a model comes from: what a person types, resolved to files on this machine.

Only data is ever loaded: safetensors, GGUF, JSON and templates; never pickles, never Python from a model.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

from inferloom_worker.sourcing import demo
from inferloom_worker.sourcing.echo_options import EchoOptions

_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")
_NAME = re.compile(r"[A-Za-z0-9][\w.:/-]{0,127}")
_ENGINE = re.compile(r"^[a-z][a-z0-9_-]*:(?=.)")
_HUB_COPIES = ("original/*", "onnx/*", "openvino/*")
"""Folders in which some repositories hold the same weights in other forms."""
_HUB_FILES = ("*.safetensors", "*.json", "*.txt", "*.jinja", "*.model")


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

    @property
    def root(self) -> str:
        """How the model's card names what it was made from; shows no folders of this machine."""
        local = self.path is not None and self.path == Path(self.spec).expanduser()
        return self.path.name if self.path is not None and local else self.spec


def parse_model_flag(flag: str) -> tuple[str, str]:
    """Split ``NAME=SPEC`` or ``SPEC``; a name left out is made from the spec.

    Raises:
        SourceError: The name or the spec is empty, or the name holds other than letters, digits and
            ``. _ : / -``.
    """
    name, found, spec = flag.partition("=")
    # The echo engine's options have "=" signs of their own.
    if not found or name.startswith("echo:"):
        name, spec = _default_name(flag), flag
    if not spec.strip():
        raise SourceError(f"{flag!r} names no model: expected NAME=SPEC or SPEC")
    return check_name(name), spec


def parse_adapter_flag(flag: str) -> tuple[str, str, str]:
    """Split ``NAME=BASE=SPEC``.

    Raises:
        SourceError: A part is missing, or a name holds other than letters, digits and ``. _ : / -``.
    """
    name, _, rest = flag.partition("=")
    base, _, spec = rest.partition("=")
    if not spec.strip():
        raise SourceError(f"{flag!r} names no adapter: expected NAME=BASE=SPEC")
    return check_name(name), check_name(base), spec


def parse_alias_flag(flag: str) -> tuple[str, str]:
    """Split ``NAME=MODEL``.

    Raises:
        SourceError: A part is missing, or holds other than letters, digits and ``. _ : / -``.
    """
    name, found, model = flag.partition("=")
    if not found:
        raise SourceError(f"{flag!r} names no model: expected NAME=MODEL")
    return check_name(name), check_name(model)


def check_name(name: str) -> str:
    """Return a model's name.

    Raises:
        SourceError: It is empty, too long, or holds other than letters, digits and ``. _ : / -``.
    """
    if not _NAME.fullmatch(name):
        raise SourceError(f"{name[:128]!r} cannot be a model's name: use letters, digits and . _ : / -")
    return name


def _default_name(spec: str) -> str:
    if spec.startswith("echo:"):
        return "echo"
    spec = _ENGINE.sub("", spec)
    path = Path(spec)
    if path.suffix == ".gguf":
        return path.stem
    return path.resolve().name if path.is_dir() else spec


def resolve(
    spec: str, cache_dir: Path | None = None, on_progress: Callable[[str], None] = lambda _: None
) -> ModelSource:
    """Find the model that ``spec`` names, fetching it where needed. Blocking.

    ``spec`` is a demo model's id, ``echo`` with options, a GGUF file, a folder, or a hub id, in this order.

    Raises:
        SourceError: There is no such model, or it holds nothing that may be loaded.
    """
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
    path = Path(spec).expanduser()
    if path.exists():
        return _local(spec, path)
    if path.suffix == ".gguf" or spec.startswith((".", "/", "~")):
        raise SourceError(f"{spec} does not exist")
    if not _HUB_ID.fullmatch(spec):
        known = ", ".join(demo.MODELS)
        raise SourceError(
            f"{spec!r} is no model that is known here ({known}), no file or folder, and no hub id"
        )
    on_progress(f"fetching {spec} from the model hub")
    return _local(spec, _from_hub(spec))


def resolve_adapter(spec: str, on_progress: Callable[[str], None] = lambda _: None) -> Path:
    """Find the folder of the adapter that ``spec`` names: a folder or a hub id. Blocking.

    Raises:
        SourceError: There is no such adapter.
    """
    path = Path(spec).expanduser()
    if path.is_dir():
        return path
    if path.exists():
        raise SourceError(f"{path.name} is a file; an adapter is given as its folder")
    if spec.startswith((".", "/", "~")):
        raise SourceError(f"{spec} does not exist")
    if not _HUB_ID.fullmatch(spec):
        raise SourceError(f"{spec!r} is no folder and no hub id")
    on_progress(f"fetching {spec} from the model hub")
    return _from_hub(spec)


def _local(spec: str, path: Path) -> ModelSource:
    if path.is_file():
        if path.suffix != ".gguf":
            raise SourceError(
                f"{path.name} is not a GGUF file; a model in safetensors is given as its folder"
            )
        return ModelSource(spec, SourceKind.GGUF, path)
    if any(path.glob("*.safetensors")):
        return ModelSource(spec, SourceKind.FOLDER, path)
    if any(p.suffix in (".bin", ".pt", ".pth", ".ckpt") for p in path.iterdir()):
        raise SourceError(
            f"{path.name} holds its weights only as pickles, which can run code when they are loaded; "
            "convert them to safetensors"
        )
    if files := sorted(path.glob("*.gguf")):
        raise SourceError(
            f"{path.name} is a folder with GGUF files; name one of them, such as {files[0].name}"
        )
    raise SourceError(f"{path.name} holds no *.safetensors files")


def _from_hub(repo: str) -> Path:
    # Imported here: a worker with local models needs no hub client.
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    try:
        return Path(
            snapshot_download(repo, allow_patterns=list(_HUB_FILES), ignore_patterns=list(_HUB_COPIES))
        )
    except LocalEntryNotFoundError as failure:
        raise SourceError(f"{repo} is not on this machine, and no model hub could be reached") from failure
    except (HfHubHTTPError, HFValidationError, OSError) as failure:
        reason = str(failure).partition("\n")[0]
        raise SourceError(f"{repo} could not be fetched from the model hub: {reason}") from failure
