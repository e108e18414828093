"""Building the kernel libraries, one for each kind of processor that they are written for.

Usage: python -m inferloom_worker.kernels.build
"""

import os
import platform
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from hashlib import sha256
from pathlib import Path

FOLDER = Path(__file__).parent
SOURCES = FOLDER / "src"

_AVX2 = ("avx2", "fma", "f16c", "bmi2")
VARIANTS: dict[str, tuple[str, ...]] = {
    "avx512": (*_AVX2, "avx512f", "avx512bw", "avx512dq", "avx512vl", "avx512vnni"),
    "avx2": _AVX2,
    "generic": (),
}
"""The libraries, the fastest first, and what their instructions need of a processor, by the compiler's names.
They are named one by one, so that a library that was built elsewhere says exactly what it needs. The generic
one is in the compiler's own vectors, and in NEON's words on ARM."""

FLAGS = (
    *("-O3", "-std=c++17", "-fPIC", "-shared", "-pthread"),
    "-ffp-contract=off",
    # Sums put in another order need more registers than there are. Apple's compiler knows neither flag.
    *(("-mtune=native", "-fno-tree-reassoc") if sys.platform == "linux" else ()),
    *("-Wall", "-Wextra"),
)


@cache
def version() -> str:
    """Sixteen hexadecimal digits that stand for the sources and how they are compiled."""
    digest = sha256(repr((FLAGS, VARIANTS)).encode())
    for source in sorted(SOURCES.iterdir()):
        digest.update(source.read_bytes())
    return digest.hexdigest()[:16]


def mark(flags: Iterable[str]) -> str:
    """What a library says that it was built from, where it was compiled with ``flags`` beside :data:`FLAGS`:
    sixteen hexadecimal digits. They are the same on all machines that have the same sources and flags."""
    return sha256(" ".join((version(), *flags)).encode()).hexdigest()[:16]


def flags_of(variant: str) -> list[str]:
    """The compiler's flags for a variant, beside :data:`FLAGS`."""
    return [f"-m{name}" for name in VARIANTS[variant]]


class BuildError(RuntimeError):
    """The libraries cannot be built here; the message says why."""


def library_path(variant: str, folder: Path = FOLDER) -> Path:
    """Where the library of a variant is, if it was built into ``folder``."""
    return folder / f"_kernels_{variant}.so"


def require_known_machine(system: str = sys.platform, processor: str | None = None) -> None:
    """Make sure that the kernels are written for this machine: Linux or macOS, on x86-64 or 64-bit ARM.

    Raises:
        BuildError: They are not.
    """
    processor = platform.machine() if processor is None else processor
    if system not in ("linux", "darwin") or processor not in ("x86_64", "AMD64", "aarch64", "arm64"):
        raise BuildError(
            "they are written for Linux and macOS on x86-64 and 64-bit ARM, "
            f"and this is {system} on {processor}"
        )


def variants_of(processor: str) -> tuple[str, ...]:
    """Those that a machine with such a processor can compile."""
    return tuple(VARIANTS) if processor in ("x86_64", "AMD64") else ("generic",)


def build(target: Path = FOLDER, variants: Iterable[str] | None = None) -> None:
    """Compile the kernels for ``variants`` into ``target``, replacing each library at once, only on success.
    None: for all that this kind of processor has.

    Raises:
        BuildError: They are not written for this machine, there is no C++ compiler, or compiling failed.
    """
    require_known_machine()
    variants = variants_of(platform.machine()) if variants is None else tuple(variants)
    with tempfile.TemporaryDirectory(dir=target) as folder:
        drafts = {variant: Path(folder) / variant for variant in variants}
        compile_all({draft: flags_of(variant) for variant, draft in drafts.items()})
        for variant, draft in drafts.items():
            draft.replace(library_path(variant, target))


def compile_all(targets: Mapping[Path, Sequence[str]]) -> None:
    """Compile a library for each path, side by side, with flags beside :data:`FLAGS`. Each says what it was
    built from (:func:`mark`). Warnings go to stderr.

    Raises:
        BuildError: As :func:`build`; its message is everything that the compiler said.
    """
    compiler = os.environ.get("CXX") or shutil.which("g++") or shutil.which("clang++")
    if compiler is None:
        raise BuildError("there is no C++ compiler")
    running = [
        subprocess.Popen(
            [
                *(compiler, *FLAGS, *flags, f'-DIL_BUILT_FROM="{mark(flags)}"'),
                *("-o", str(path), str(SOURCES / "api.cpp")),
            ],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        for path, flags in targets.items()
    ]
    said = [process.communicate()[1].strip() for process in running]
    for process, words in zip(running, said, strict=True):
        if process.returncode:
            raise BuildError(words or f"{compiler} failed")
        if words:
            print(words, file=sys.stderr)


def main() -> None:
    """Build, and say what happened. A machine without the means is no failure: torch computes there."""
    try:
        build()
    except BuildError as failure:
        print(f"no kernel libraries ({failure}); models will run on torch alone", file=sys.stderr)
    else:
        built = [library_path(variant).name for variant in variants_of(platform.machine())]
        print(f"built {', '.join(built)}")


if __name__ == "__main__":
    main()
