"""What is installed: the libraries of each extra, and the kernels."""

import shutil
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, requires, version

from packaging.requirements import Requirement

from inferloom_cli.doctor.finding import Finding, Level

AREA = "installation"
DISTRIBUTION = "inferloom"
EXTRAS = ("mesh", "registry", "gateway", "worker", "torch", "sentence-transformers", "redis")

_WANTED_FOR = {"redis": ", which only keys in a Redis need (--keys redis://…)"}
"""For what an extra is there that most do without."""


@dataclass(frozen=True, slots=True)
class Missing:
    """A library that an extra brings, and that is not as it should be."""

    library: str
    extra: str
    wanted: str
    """The versions that would do."""
    found: str | None
    """The version that there is; None: none."""


def missing(extra: str, of: Callable[[str], str | None]) -> list[Missing]:
    """What an extra lacks; ``of`` gives the version of a library, None where there is none."""
    lacking = []
    for line in requires(DISTRIBUTION) or ():
        needed = Requirement(line)
        if needed.marker is None or not needed.marker.evaluate({"extra": extra}):
            continue
        if needed.marker.evaluate({"extra": ""}) or needed.name == DISTRIBUTION:
            continue
        found = of(needed.name)
        if found is None or not needed.specifier.contains(found, prereleases=True):
            lacking.append(Missing(needed.name, extra, str(needed.specifier), found))
    return lacking


def installed(library: str) -> str | None:
    """The version of a library here; None: there is none."""
    try:
        return version(library)
    except PackageNotFoundError:
        return None


def judge(of: Callable[[str], str | None] = installed) -> Iterator[Finding]:
    """What can be run with what is installed."""
    yield Finding(AREA, Level.OK, f"inferloom {of(DISTRIBUTION)}, Python {sys.version.split()[0]}")
    whole, told = [], set[str]()
    for extra in EXTRAS:
        lacking = missing(extra, of)
        # One extra may bring another.
        old = [each for each in lacking if each.found is not None and each.library not in told]
        told |= {each.library for each in old}
        if not lacking:
            whole.append(extra)
        elif old:
            what = ", ".join(f"{each.library} {each.found} (wanted: {each.wanted})" for each in old)
            yield Finding(AREA, Level.FAULT, f"too old for {extra}: {what}", _install(extra))
        elif names := ", ".join(each.library for each in lacking if each.found is None):
            what = f"{extra} is not installed (lacks {names})"
            yield Finding(AREA, Level.NOTE, what + _WANTED_FOR.get(extra, ""), _install(extra))
    yield Finding(AREA, Level.OK, f"installed: {', '.join(whole)}")


def judge_kernels() -> Iterator[Finding]:
    """Whether models are computed by the kernels here, and on what else they could be."""
    try:
        from inferloom_worker.kernels import build
        from inferloom_worker.kernels.library import KernelError, instruction_set, library
    except ModuleNotFoundError:
        return  # the worker's extra was found lacking
    try:
        build.require_known_machine()
        library()
    except (build.BuildError, KernelError) as failure:
        fix = "" if isinstance(failure, build.BuildError) else "python -m inferloom_worker.kernels.build"
        yield Finding(
            AREA, Level.WARNING if fix else Level.NOTE, f"no kernels, so models run on torch: {failure}", fix
        )
        return
    if found := instruction_set():
        yield Finding(AREA, Level.OK, f"kernels for {found}")
    elif not shutil.which("g++") and not shutil.which("clang++"):
        what = "there are no kernels, and no compiler for them: models run on torch, which is slower"
        yield Finding(AREA, Level.WARNING, what, "install g++ (or name a compiler with CXX)")
    else:
        yield Finding(AREA, Level.NOTE, "the kernels are compiled when a worker first needs them")


def judge_gpu() -> Iterator[Finding]:
    """Whether torch can use the GPU that is there."""
    torch = installed("torch")
    if shutil.which("nvidia-smi") is None or torch is None:
        return
    if "+cpu" in torch:
        what = f"there is an NVIDIA GPU, and torch {torch} is built without CUDA"
        yield Finding(AREA, Level.WARNING, what, "make install GPU=1, or pip install torch with CUDA")
    elif not any(map(shutil.which, ("cc", "gcc", "clang"))):
        what = (
            "there is no C compiler for Triton: on the GPU models run on torch's operations, which are slower"
        )
        yield Finding(AREA, Level.WARNING, what, "apt-get install gcc python3-dev")


def _install(extra: str) -> str:
    return f"pip install '.[{extra}]' in Inferloom's folder"
