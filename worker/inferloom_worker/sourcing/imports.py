"""Importing libraries that make hundreds of thousands of objects."""

import gc
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager

_ONE_AT_A_TIME = threading.Lock()
"""Large libraries import in circles; two threads that start at different ends can meet halfway."""


@contextmanager
def large_imports() -> Iterator[None]:
    """Import inside the block: one thread at a time, and without the garbage collector.

    It would look through all objects again and again while none of them dies, which is a fifth of the time.
    What is there afterwards stays for as long as the process, so it is left out of later collections, too:
    they would hold up whoever waits for the GIL.
    """
    with _ONE_AT_A_TIME:
        collects, known = gc.isenabled(), len(sys.modules)
        gc.disable()
        try:
            yield
        finally:
            if len(sys.modules) > known:
                gc.collect()  # or what died amid it would stay with whatever its frames held, such as a model
                gc.freeze()
            if collects:
                gc.enable()
