"""Compiles the worker's kernels when the distribution is built, where it is asked to and the machine can.

Which extras somebody installs is not known when their wheel is built, and the typed contract alone needs no
compiler. So it is asked for, with INFERLOOM_KERNELS=1, as `make` does; a worker that finds none beside its
code compiles what it needs when it first starts (``inferloom_worker/kernels/kept.py``).
"""

import os
import runpy
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

KERNELS = Path(__file__).parent / "worker/inferloom_worker/kernels"


class KernelBuildHook(BuildHookInterface):
    """Puts the libraries into wheels, tagged for this platform, and beside an editable install's sources."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Build if asked to; without a compiler for x86-64, the distribution is pure Python all the same."""
        if os.environ.get("INFERLOOM_KERNELS", "0") in ("", "0"):
            return
        builder = runpy.run_path(str(KERNELS / "build.py"))
        try:
            builder["build"]()
        except builder["BuildError"] as failure:
            self.app.display_info(f"no kernel libraries: {failure}")
            return
        build_data["pure_python"] = False
        build_data["infer_tag"] = True
        for variant in builder["VARIANTS"]:
            library = builder["library_path"](variant)
            if not library.exists():  # of another kind of processor
                continue
            build_data["force_include"][str(library)] = f"inferloom_worker/kernels/{library.name}"
