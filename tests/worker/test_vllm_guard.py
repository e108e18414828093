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
        if sys.argv[1] == "loading":
            while child.pid not in guard._known:
                time.sleep(0.01)
            print(child.pid, flush=True)
            time.sleep(600)
    print(child.pid, flush=True)
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
    worker = _run(_WORKER, tmp_path, when)
    assert worker.stdout is not None
    engine = psutil.Process(int(worker.stdout.readline()))
    try:
        if when in ("closed", "failed"):
            assert worker.stdout.readline()
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


_SIDE_BY_SIDE = """
import multiprocessing, threading, time
from inferloom_worker.engines.vllm.guard import Guard

def start(guard):
    with guard.learning():
        child = multiprocessing.get_context("spawn").Process(target=time.sleep, args=(600,))
        child.start()
        children.append(child)

if __name__ == "__main__":
    children = []
    failing, other = Guard(), Guard()
    thread = threading.Thread(target=start, args=(other,))
    with failing.learning():
        thread.start()
        thread.join(1.0)
    failing.kill()
    thread.join()
    children[0].join(0.5)
    print(children[0].pid, children[0].exitcode, flush=True)
    time.sleep(600)
"""


def test_a_start_that_fails_ends_nothing_of_another_models(tmp_path: object) -> None:
    """Which is started meanwhile: it begins behind the first."""
    worker = _run(_SIDE_BY_SIDE, tmp_path)
    assert worker.stdout is not None
    pid, exitcode = worker.stdout.readline().split()
    try:
        assert exitcode == "None"
        engine = psutil.Process(int(pid))
        worker.send_signal(signal.SIGKILL)
        until(lambda: _lives(engine), "its end", lambda lives: not lives)
    finally:
        worker.kill()
        worker.stdout.close()
        worker.wait()


def _run(program: str, folder: object, *words: str) -> subprocess.Popen[str]:
    script = f"{folder}/worker.py"
    with open(script, "w", encoding="utf-8") as file:
        file.write(program)
    return subprocess.Popen([sys.executable, script, *words], stdout=subprocess.PIPE, text=True)


def _lives(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
