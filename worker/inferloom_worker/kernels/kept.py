"""The kernel library of an installation that has none: compiled when a worker first needs it, and kept.

A distribution with libraries (``INFERLOOM_KERNELS=1`` when it is built, as ``make`` does) has them beside
this file. Otherwise the one that this processor runs is compiled into the cache folder, once for each state
of the sources.
"""

import fcntl
from collections.abc import Callable
from functools import cache
from pathlib import Path

from inferloom_worker.kernels import build
from inferloom_worker.kernels.build import VARIANTS, BuildError
from inferloom_worker.sourcing.demo import CACHE_VARIABLE, cache_folder


def library_path(variant: str) -> Path:
    """Where the library of a variant is, or will be when it is compiled here."""
    shipped = build.library_path(variant)
    return shipped if shipped.exists() else _folder() / shipped.name


@cache
def _folder() -> Path:
    return cache_folder() / "kernels" / build.version()


def are_there() -> bool:
    """Whether any library is, so that nothing needs to be compiled."""
    return any(library_path(variant).exists() for variant in VARIANTS)


def ensure(tell: Callable[[str], None]) -> None:
    """Make sure that there is a library for this processor, where there can be one. Blocks while it compiles.

    Args:
        tell: Told in a sentence what is done, or why there will be none: models run on torch then.
    """
    if are_there():
        return
    try:
        build.require_known_machine()
        _build(tell)
    except BuildError as failure:
        tell(f"no kernels, so models run on torch: {failure}")
    except OSError as failure:
        tell(f"no kernels, so models run on torch: {failure}; {CACHE_VARIABLE} names the folder for them")


def _build(tell: Callable[[str], None]) -> None:
    # It needs numpy, and this one may not.
    from inferloom_worker.kernels.library import built_from, library, suits

    variant = next(variant for variant in VARIANTS if suits(variant))
    folder = _folder()
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # several workers start together
        if not library_path(variant).exists():
            tell("compiling the kernels for this processor (once, about half a minute)")
            build.build(folder, (variant,))
    library.cache_clear()
    built_from.cache_clear()
