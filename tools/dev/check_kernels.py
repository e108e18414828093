"""Check the kernels as no user runs them: warnings are errors, and memory and arithmetic are watched.

Usage: python tools/dev/check_kernels.py [--fuzz COUNT] [--seed SEED] [--only VARIANT…]

Builds every instruction set that this processor can run, and AVX-512 over emulated instructions
(tests/worker/native/avx512_emulated.h), with AddressSanitizer and UndefinedBehaviorSanitizer. Runs the
kernels' tests with each of them in a process that has the sanitizers' runtime loaded before everything
else, and fuzzes files (fuzz_files.py) with the first. A report of a sanitizer, like any failure, ends it
with a status that is not 0.
"""

import argparse
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from inferloom_worker.kernels.build import VARIANTS, compile_all
from inferloom_worker.kernels.library import can_run

ROOT = Path(__file__).parents[2]
EMULATED = "avx512-emulated"
SANITIZED = ("-O0", "-g", "-Werror", "-fsanitize=address,undefined", "-fno-sanitize-recover=undefined")
TESTS = ("native", "native_adapters", "native_encoder", "kernel_boundary")
OPTIONS = {
    "ASAN_OPTIONS": "detect_leaks=0:abort_on_error=1:allocator_may_return_null=1",
    "UBSAN_OPTIONS": "print_stacktrace=1:halt_on_error=1",
}


def flags(variant: str) -> list[str]:
    """The compiler's flags for a sanitized variant."""
    if variant == EMULATED:
        header = str(ROOT / "tests/worker/native/avx512_emulated.h")
        return [*(f"-m{name}" for name in VARIANTS["avx2"]), "-include", header, *SANITIZED]
    return [*(f"-m{name}" for name in VARIANTS[variant]), *SANITIZED]


def runtime() -> str:
    """The sanitizers' shared libraries, for LD_PRELOAD, libstdc++ with them so that exceptions are found."""
    compiler = os.environ.get("CXX") or "g++"
    found = [
        subprocess.run([compiler, f"-print-file-name={name}"], capture_output=True, text=True, check=True)
        for name in ("libasan.so", "libubsan.so", "libstdc++.so.6")
    ]
    return " ".join(result.stdout.strip() for result in found)


def run(library: Path, command: Sequence[str]) -> bool:
    """Run a command with a sanitized library; whether it succeeded."""
    environment = os.environ | OPTIONS | {"IL_KERNEL_LIBRARY": str(library), "LD_PRELOAD": runtime()}
    return subprocess.run(command, cwd=ROOT, env=environment, check=False).returncode == 0


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--fuzz", type=int, default=400, metavar="COUNT", help="files to fuzz (default 400)")
    parser.add_argument("--seed", type=int, default=1)
    variants = [*(variant for variant in VARIANTS if can_run(variant)), EMULATED]
    parser.add_argument("--only", nargs="+", choices=variants, default=variants, metavar="VARIANT")
    args = parser.parse_args()
    failed = []
    with tempfile.TemporaryDirectory() as folder:
        libraries = {variant: Path(folder) / f"{variant}.so" for variant in args.only}
        compile_all({path: flags(variant) for variant, path in libraries.items()})
        for variant, path in libraries.items():
            tests = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--timeout", "600"]
            if not run(path, [*tests, *(f"tests/worker/test_{name}.py" for name in TESTS)]):
                failed.append(f"tests with {variant}")
        if args.fuzz:
            fuzz = ["tools/dev/fuzz_files.py", "--count", str(args.fuzz), "--seed", str(args.seed)]
            if not run(next(iter(libraries.values())), [sys.executable, *fuzz]):
                failed.append("fuzz")
    if failed:
        sys.exit(f"failed: {', '.join(failed)}")


if __name__ == "__main__":
    main()
