"""Takes a request's body in: bounded by itself and by what the process holds, read where there is time."""

from collections.abc import Callable
from typing import TypeVar

from fastapi import Request

from inferloom_gateway.http.disconnect import ClientDisconnectedError
from inferloom_gateway.http.intake import Intake
from inferloom_mesh.errors import InferloomError, Reason

T = TypeVar("T")


async def take_in(
    request: Request, intake: Intake, limit: int, read: Callable[[bytes | bytearray], T], *, quick: int
) -> T:
    """What ``read`` makes of a body of at most ``limit`` bytes.

    One that came whole with its head and has less than ``quick`` bytes is read at once; from that size on the
    intake's thread reads, because everybody else would wait.

    Raises:
        InferloomError: It is too large or too slow, the process holds as many as it can, and what ``read``
            raises.
        ClientDisconnectedError: The client left before it had sent all of it.
    """
    declared = request.headers.get("content-length")
    if declared is not None and int(declared) > limit:
        raise too_large(limit)
    part, more = await receive_part(request)
    if len(part) < quick and not more:
        return read(part)
    with intake.hold() as held:
        raw = bytearray()
        while True:
            if len(raw) + len(part) > limit:
                raise too_large(limit)
            held.add(len(part))
            raw += part
            if not more:
                break
            part, more = await receive_part(request)
        return read(raw) if len(raw) < quick else await intake.run(lambda: read(raw))


async def receive_part(request: Request) -> tuple[bytes, bool]:
    """The next part of the body, and whether there is more.

    Raises:
        ClientDisconnectedError: The client has left.
    """
    message = await request.receive()
    if message["type"] == "http.disconnect":
        raise ClientDisconnectedError
    return message.get("body", b""), message.get("more_body", False)


def too_large(limit: int) -> InferloomError:
    """The error for a body of more than ``limit`` bytes."""
    return InferloomError(Reason.REQUEST_TOO_LARGE, f"The body is over the limit of {limit} bytes.")
