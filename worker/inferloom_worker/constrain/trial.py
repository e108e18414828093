"""A process that tries grammars: what takes too much time or memory ends it, and not the worker.

It reads pickled messages from its input, each after its length in four bytes: first what makes its
vocabulary, then grammars. To each it writes three things back: why the grammar is refused, or nothing; the
bytes that it takes; and those of a copy, as each choice has one.
"""

import ctypes
import pickle
import resource
import struct
import sys
from typing import IO, Any

import numpy as np
from llguidance import LLMatcher, LLTokenizer

from inferloom_worker.constrain.limits import limits
from inferloom_worker.engine.constraint import WORD

MEMORY = 512 * 2**20
"""Bytes that grammars may take on top of the vocabulary."""


def read(stream: IO[bytes]) -> Any:
    """The next message. Raises EOFError at the end."""
    head = stream.read(4)
    if len(head) < 4:
        raise EOFError
    return pickle.loads(stream.read(*struct.unpack("<I", head)))  # noqa: S301 # of the process that started this


def write(stream: IO[bytes], message: object) -> None:
    """Send a message."""
    data = pickle.dumps(message)
    stream.write(struct.pack("<I", len(data)) + data)
    stream.flush()


def attempt(tokens: LLTokenizer, text: str) -> tuple[LLMatcher, str]:
    """A grammar at its beginning, with its first mask computed, and why it is refused; empty: it is not.

    The first mask builds what later ones need.
    """
    start = LLMatcher(tokens, text, log_level=0, limits=limits())
    if not start.is_error():
        mask = np.empty(-(-tokens.vocab_size // WORD), np.int32)
        start.unsafe_compute_mask_ptr(mask.ctypes.data, mask.nbytes)
    return start, str(start.get_error())


_ALL, _HELD = 0, 1
_trim = getattr(ctypes.CDLL(None), "malloc_trim", None)


def _memory(kind: int) -> int:
    """Bytes of addresses, or of memory that is held.

    What earlier grammars left is given back first, where the C library can: others would grow into it unseen.
    """
    if _trim is not None:
        _trim(0)
    with open("/proc/self/statm", encoding="ascii") as file:
        return int(file.read().split()[kind]) * resource.getpagesize()


def main() -> None:
    """Try grammars until the input ends."""
    source, sink = sys.stdin.buffer, sys.stdout.buffer
    maker, arguments = read(source)
    tokens = maker(*arguments)
    used = _memory(_ALL)
    resource.setrlimit(resource.RLIMIT_AS, (used + MEMORY, used + MEMORY))
    write(sink, ("", 0, 0))
    while True:
        try:
            text = read(source)
        except EOFError:
            return
        before = _memory(_HELD)
        start, why = attempt(tokens, str(text))
        made = _memory(_HELD)
        copy = None if why else start.deep_copy()
        write(sink, (why, max(made - before, 0), max(_memory(_HELD) - made, 0)))
        del start, copy  # held until here: their memory is measured


if __name__ == "__main__":
    main()
