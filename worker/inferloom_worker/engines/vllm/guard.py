"""Sees to it that vLLM's processes end with the worker, however that ends.

vLLM's engine runs in a process of its own, which does not notice that its parent was killed: it would keep
the memory of the accelerator that the next worker needs. So a shell waits at the reading end of a pipe whose
writing end only the worker has. Its own workers follow the engine by themselves.
"""

import multiprocessing
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager

LOOK_S = 0.05
"""How often new processes are looked for while vLLM starts."""

_SCRIPT = """
pids=
while read -r line; do
    [ "$line" = closed ] && exit
    pids=$line
done
kill -9 $pids 2>/dev/null
"""
"""Each line names all that live. Without that word before the end, the worker did not close vLLM itself."""

_starting = threading.Lock()
"""Who starts has a process's new children for its own: models are loaded side by side."""


class Guard:
    """Ends processes when this one ends without having closed it."""

    def __init__(self) -> None:
        words = ["/bin/sh", "-c", _SCRIPT]
        self._shell = subprocess.Popen(words, stdin=subprocess.PIPE, start_new_session=True)
        self._known: set[int] = set()

    @contextmanager
    def learning(self) -> Iterator[None]:
        """Guard each process that multiprocessing starts inside the block, from when it starts. Waits until
        no other guard learns."""
        with _starting:
            before, over = _children(), threading.Event()

            def look() -> None:
                while not over.wait(LOOK_S):
                    self._guard(_children() - before)

            thread = threading.Thread(target=look, name="guard", daemon=True)
            thread.start()
            try:
                yield
            finally:
                over.set()
                thread.join()
                self._guard(_children() - before)

    def close(self) -> None:
        """The processes have ended: forget them."""
        self._say("closed")
        self.kill()

    def kill(self) -> None:
        """End those that have not."""
        stdin = self._shell.stdin
        assert stdin is not None
        stdin.close()
        self._shell.wait()

    def _guard(self, pids: set[int]) -> None:
        """These, and no others: of one that has ended, another may have the number."""
        if pids != self._known:
            self._say(" ".join(map(str, pids)))
            self._known = pids

    def _say(self, word: str) -> None:
        stdin = self._shell.stdin
        assert stdin is not None
        if not stdin.closed:
            stdin.write(f"{word}\n".encode())
            stdin.flush()


def _children() -> set[int]:
    return {child.pid for child in multiprocessing.active_children() if child.pid is not None}
