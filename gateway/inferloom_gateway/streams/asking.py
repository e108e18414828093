"""How a resumable stream is asked for, and told of: the same names in headers and in gRPC's metadata."""

import math

from inferloom_mesh.errors import invalid

HEADER = "x-inferloom-resumable"
STREAM_HEADER = "x-inferloom-stream"
LONGEST_S = 3600.0


def resumable_s(value: str) -> float:
    """The seconds that the header asks for.

    Raises:
        InferloomError: They are none.
    """
    try:
        seconds = float(value) if value.isascii() and len(value) <= 20 else math.nan
    except ValueError:
        seconds = math.nan
    if not 0 < seconds <= LONGEST_S:
        raise invalid(HEADER, f"{HEADER} must be a number of seconds, at most {LONGEST_S:g}.")
    return seconds
