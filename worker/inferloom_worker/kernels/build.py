"""Building the kernel library.

Usage: python -m inferloom_worker.kernels.build
"""

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

SOURCES = Path(__file__).parent / "src"
LIBRARY = Path(__file__).parent / "_kernels.so"
EXTENSIONS = ("avx2", "fma", "f16c", "bmi2", "avx512f", "avx512bw", "avx512dq", "avx512vl", "avx512vnni")
"""What the library's instructions need of a processor, by the compiler's names. They are named one by one, so
that a library that was built elsewhere says exactly what it needs."""
FLAGS = (
    *("-O3", "-mtune=native", "-std=c++17", "-fPIC", "-shared", "-ffp-contract=off", "-pthread"),
    *(f"-m{extension}" for extension in EXTENSIONS),
)


class BuildError(RuntimeError):
    """The library cannot be built here; the message says why."""


def build(library: Path = LIBRARY) -> None:
    """Compile the kernels into ``library``, replacing it at once and only on success.

    Raises:
        BuildError: There is no C++ compiler, or not one for x86-64, or compiling failed.
    """
    compiler = os.environ.get("CXX") or shutil.which("g++") or shutil.which("clang++")
    if compiler is None:
        raise BuildError("there is no C++ compiler")
    with tempfile.TemporaryDirectory(dir=library.parent) as folder:
        output = Path(folder) / library.name
        command = [compiler, *FLAGS, "-o", str(output), str(SOURCES / "api.cpp")]
        result = subprocess.run(command, capture_output=True, text=True, check=False)
        if result.returncode:
            reason = result.stderr.strip().splitlines()
            raise BuildError(reason[0] if reason else f"{compiler} failed")
        output.replace(library)


def main() -> None:
    """Build, and say what happened. A machine without the means is no failure: torch computes there."""
    try:
        build()
    except BuildError as failure:
        print(f"no kernel library ({failure}); models will run on torch alone", file=sys.stderr)
    else:
        print(f"built {LIBRARY.name}")


if __name__ == "__main__":
    main()
