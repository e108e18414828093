"""vLLM's processes end with their worker."""

import os
import signal
import subprocess
import sys
import time

import psutil
import pytest

from tests.patience import until

_WORKER = """
import multiprocessing, sys, time
from inferloom_worker.engines.vllm.guard import Guard

if __name__ == "__main__":
    guard = Guard()
    with guard.learning():
        child = multiprocessing.get_context("spawn").Process(target=time.sleep, args=(600,))
        child.start()
        print(child.pid, flush=True)
        if sys.argv[1] == "loading":
            time.sleep(600)
    if sys.argv[1] == "closed":
        guard.close()
        print("closed", flush=True)
    elif sys.argv[1] == "failed":
        guard.kill()
        print("killed", flush=True)
    time.sleep(600)
"""


@pytest.mark.parametrize("when", ["loading", "loaded", "closed", "failed"])
def test_a_killed_worker_takes_along_what_it_had_started(when: str, tmp_path: object) -> None:
    """While vLLM still loads, too, and not what it has closed: others may have its number by then."""
    script = f"{tmp_path}/worker.py"
    with open(script, "w", encoding="utf-8") as file:
        file.write(_WORKER)
    worker = subprocess.Popen([sys.executable, script, when], stdout=subprocess.PIPE, text=True)
    assert worker.stdout is not None
    engine = psutil.Process(int(worker.stdout.readline()))
    try:
        if when in ("closed", "failed"):
            assert worker.stdout.readline()
        else:
            time.sleep(0.5)  # until the guard has seen it
        if when != "failed":
            assert engine.is_running()
        worker.send_signal(signal.SIGKILL)
        worker.wait()
        if when == "closed":
            time.sleep(0.5)
            assert _lives(engine)
        else:
            until(lambda: _lives(engine), "its end", lambda lives: not lives)
    finally:
        worker.kill()
        if _lives(engine):
            os.kill(engine.pid, signal.SIGKILL)
        worker.stdout.close()
        worker.wait()


def _lives(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
