"""A model that was unloaded is gone, with all that it had running: in a process of its own, since what a
process imports for its first model is part of the story."""

import subprocess
import sys
from pathlib import Path

SCRIPT = """
import asyncio, gc, sys, weakref
from functools import partial

import psutil

from inferloom_mesh.runtime import settle
from inferloom_worker.hosting.host import ModelHost
from inferloom_worker.hosting.load_options import LoadOptions
from inferloom_worker.hosting.model_loading import load_adapter, load_model


async def main() -> None:
    host = ModelHost(partial(load_model, options=LoadOptions()), load_adapter)
    await host.start([("m", sys.argv[1])])
    settle()
    (model,) = host.models
    kept = [weakref.ref(model), weakref.ref(model.engine)]
    while not (begun := psutil.Process().children()):
        await asyncio.sleep(0.02)
    del model
    await host.unload("m", 1)
    psutil.wait_procs(begun, timeout=10)
    for _ in range(100):  # threads that had to do with it may be in their last lines
        gc.collect()
        if not any(each() for each in kept):
            break
        await asyncio.sleep(0.05)
    print([each() is not None for each in kept], len(psutil.Process().children()))


asyncio.run(main())
"""


def test_an_unloaded_model_is_gone(smollm_file: Path) -> None:
    """Its weights, its engine, and the process that tries its grammars."""
    ran = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(smollm_file)], capture_output=True, text=True, timeout=120
    )
    assert ran.stdout.strip() == "[False, False] 0", ran.stderr
