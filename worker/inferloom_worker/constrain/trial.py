"""A process that tries grammars: what takes too much time or memory ends it, and not the worker.

It reads pickled messages from its input, each after its length in four bytes: first what makes its
vocabulary, then grammars. To each it writes one back: why the grammar is refused, or nothing.
"""

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


def main() -> None:
    """Try grammars until the input ends."""
    source, sink = sys.stdin.buffer, sys.stdout.buffer
    maker, arguments = read(source)
    tokens = maker(*arguments)
    used = int(open("/proc/self/statm", encoding="ascii").read().split()[0]) * resource.getpagesize()  # noqa: SIM115
    resource.setrlimit(resource.RLIMIT_AS, (used + MEMORY, used + MEMORY))
    write(sink, "")
    while True:
        try:
            text = read(source)
        except EOFError:
            return
        write(sink, attempt(tokens, str(text))[1])


if __name__ == "__main__":
    main()
