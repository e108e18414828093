"""Sees to it that vLLM's processes end with the worker, however that ends.

vLLM's engine runs in a process of its own, which does not notice that its parent was killed: it would keep
the memory of the accelerator that the next worker needs. So a shell waits at the reading end of a pipe whose
writing end only the worker has. Its own workers follow the engine by themselves.
"""

import subprocess
from collections.abc import Sequence

_SCRIPT = 'read -r word || kill -9 "$@" 2>/dev/null'
"""Without a word before the end, the worker did not close vLLM itself."""


class Guard:
    """Ends processes when this one ends without having closed it.

    Args:
        pids: The processes.
    """

    def __init__(self, pids: Sequence[int]) -> None:
        words = ["/bin/sh", "-c", _SCRIPT, "guard", *map(str, pids)]
        self._shell = subprocess.Popen(words, stdin=subprocess.PIPE, start_new_session=True)

    def close(self) -> None:
        """The processes have ended: forget them."""
        stdin = self._shell.stdin
        assert stdin is not None
        if not stdin.closed:
            stdin.write(b"closed\n")
            stdin.close()
        self._shell.wait()
