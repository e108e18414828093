"""The link's own port of a worker: bytes that no gateway sends."""

import asyncio
from dataclasses import dataclass

from google.protobuf.message import Message

from inferloom.v1 import link_pb2
from inferloom_mesh.net import Address
from tests.hostile.clients import _reason
from tests.hostile.link_frames import GOOD, LinkCase, frame, start
from tests.hostile.messages import text
from tests.patience import PATIENCE_S

PREAMBLE = b"inferloom-link/1"
WELCOME = PREAMBLE + bytes(4)
"""What a worker says to a gateway that it lets in: that, and a CallEnd that says nothing is wrong."""

HELLO = b"%HELLO%"
"""In a case's bytes: the greeting of a gateway that may attach."""


@dataclass(frozen=True, slots=True)
class PortCase:
    """Bytes, and whether the worker then ends the connection by itself. If it does not, it must answer a good
    call behind them."""

    name: str
    sent: bytes
    ends: bool = True
    welcome: bool = False
    """Whether the gateway is let in before."""


def framed(message: bytes | Message) -> bytes:
    """A frame as it is sent."""
    data = message if isinstance(message, bytes) else message.SerializeToString()
    return len(data).to_bytes(4, "big") + data


def inside(name: str, *frames: bytes | Message, raw: bytes = b"", ends: bool = True) -> PortCase:
    """What comes from a gateway that was let in."""
    return PortCase(name, HELLO + b"".join(map(framed, frames)) + raw, ends, welcome=True)


PORT = (
    PortCase("a request of HTTP", b"GET / HTTP/1.1\r\nhost: worker\r\n\r\n"),
    PortCase("a client of gRPC", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes(9)),
    PortCase("a client of TLS", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\x5a" * 512),
    PortCase("zeros", bytes(100_000)),
    PortCase("another version", b"inferloom-link/2" + bytes(4)),
    PortCase("another case", b"INFERLOOM-LINK/1" + bytes(4)),
    PortCase("a greeting of four gigabytes", PREAMBLE + b"\xff\xff\xff\xff"),
    PortCase("a greeting that is too large by a byte", PREAMBLE + (2**12 + 1).to_bytes(4, "big")),
    PortCase("a greeting of the largest frame", PREAMBLE + (2**20).to_bytes(4, "big") + b"x" * 2**17),
    PortCase("a greeting that is no message", PREAMBLE + framed(b"\xff\xff\xff")),
    PortCase("a greeting that is no UTF-8", PREAMBLE + framed(b"\x0a\x02\xc0\x80")),
    PortCase("a frame in the place of a greeting", PREAMBLE + framed(b"\x0a\x04\x08\x01\xff\xff")),
    inside("bytes that are no frame", b"\xff\xff\xff"),
    inside("a frame of a gigabyte", raw=b"\x40\x00\x00\x00"),
    inside("a frame that is too large by a byte", raw=(2**20 + 1).to_bytes(4, "big") + b"x" * 2**16),
    inside("a second preamble", raw=PREAMBLE + bytes(4)),
    inside("a good call and bytes that are none", frame(start(text())), b"\x0b"),
    inside("groups in groups", b"\x0b" * 200 + b"\x0c" * 200),
    inside("a hundred thousand beats", raw=bytes(400_000), ends=False),
    inside("the largest frame", b"\xc2\x3e" + b"\xfa\xff\x3f" + b"x" * (2**20 - 6), ends=False),
)

UNFINISHED = (
    ("silence", b""),
    ("a part of the preamble", PREAMBLE[:7]),
    ("a preamble and no more", PREAMBLE),
    ("a part of a length", PREAMBLE + b"\0\0"),
    ("a part of a greeting", PREAMBLE + b"\0\0\0\x40abc"),
    ("the largest greeting without its last byte", PREAMBLE + b"\0\0\x10\0" + b"x" * 4095),
)
"""Greetings that never come to an end."""


async def ask_port(at: Address, case: PortCase, hello: bytes) -> str:
    """Send a case's bytes; what went otherwise than it says, or nothing."""
    reader, writer = await asyncio.open_connection(at.host, at.port)
    try:
        async with asyncio.timeout(PATIENCE_S):
            good = b"" if case.ends else framed(frame(start(text("ok"), GOOD)))
            writer.write(case.sent.replace(HELLO, PREAMBLE + framed(hello)) + good)
            heard = b""
            try:
                while data := await reader.read(65536):
                    heard += data
                    if good and _ended(heard[len(WELCOME) :]):
                        break
                else:
                    if good:
                        return "the connection ended"
            except ConnectionError:
                pass  # it ended with something unread
            if case.welcome and not heard.startswith(WELCOME):
                return f"it was not let in: {heard[:80]!r}"
            if not case.welcome and heard.startswith(WELCOME):
                return "it was let in"
    except TimeoutError:
        return "the connection did not end"
    finally:
        writer.transport.abort()
    return ""


def _ended(heard: bytes) -> bool:
    """Whether the good call has ended well in what was heard."""
    while len(heard) >= 4 and len(heard) >= 4 + (size := int.from_bytes(heard[:4], "big")):
        said = link_pb2.AttachResponse.FromString(heard[4 : 4 + size])
        if any(end.call == GOOD and not end.code for end in said.ends):
            return True
        heard = heard[4 + size :]
    return False


async def ask_link_port(at: Address, case: LinkCase, hello: bytes) -> tuple[str, dict[int, str], str]:
    """Send the frames of a case for the link, and a good call, as ``ask_link`` does by gRPC: ``OK`` or
    ``ended``, how each call ended, and what was said of that."""
    reader, writer = await asyncio.open_connection(at.host, at.port)
    ends: dict[int, str] = {}
    said = ""
    wanted = {*case.ends, GOOD}
    try:
        async with asyncio.timeout(PATIENCE_S):
            frames = (*case.frames, frame(start(text("ok"), GOOD))) if case.status == "OK" else case.frames
            writer.write(PREAMBLE + framed(hello) + b"".join(map(framed, frames)))
            assert await reader.readexactly(len(WELCOME)) == WELCOME
            while not wanted <= ends.keys():
                size = int.from_bytes(await reader.readexactly(4), "big")
                for end in link_pb2.AttachResponse.FromString(await reader.readexactly(size)).ends:
                    ends[end.call] = _reason(end)
                    said += "" if end.call == GOOD else end.message
    except (asyncio.IncompleteReadError, ConnectionError):
        return "ended", ends, said
    finally:
        writer.transport.abort()
    return "OK", ends, said
