"""How a case is sent, and what is seen of its answer."""

import asyncio
import socket
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import grpc
import orjson
from google.protobuf.message import Message
from google.rpc import error_details_pb2

from inferloom.v1 import link_pb2
from inferloom_mesh.net import Address
from inferloom_mesh.status import read_failure
from tests.hostile import link_frames
from tests.hostile.cases import AUTH, RestCase, RpcCase
from tests.hostile.link_frames import LinkCase
from tests.hostile.messages import text
from tests.patience import PATIENCE_S

OPTIONS = (
    ("grpc.max_send_message_length", -1),
    ("grpc.max_receive_message_length", -1),
    ("grpc.max_metadata_size", 2**24),
    ("grpc.enable_http_proxy", 0),
)
"""A client without manners: nothing is too large for it."""

Metadata = tuple[tuple[str, str | bytes], ...]


@dataclass(frozen=True, slots=True)
class Seen:
    """An answer."""

    status: int
    code: str | None
    text: str
    """The error's message, or the body."""
    raw: bytes
    closed: bool


def ask_rest(address: Address, case: RestCase, key: str) -> Seen:
    """Send a case's bytes on a connection of its own."""
    shown = f"Authorization: Bearer {key}\r\n".encode() if key else b""
    with socket.create_connection(address, timeout=PATIENCE_S) as connection:
        with suppress(BrokenPipeError, ConnectionResetError):  # it may be refused before it has all come
            connection.sendall(case.request.replace(AUTH, shown))
        reading = connection.makefile("rb")
        raw, status, body = b"", 0, b""
        for _ in range(case.answers):
            head = b""
            while line := reading.readline():
                head += line
                if line == b"\r\n":
                    if not head.startswith(b"HTTP/1.1 100 "):
                        break
                    head = b""
            raw += head
            status = int(head.split(b" ", 2)[1]) if head else 0
            body = _body(reading, head)
            raw += body
        closed = case.closes and not reading.read(1)
    try:
        error = orjson.loads(body)["error"]
        return Seen(status, error["code"], error["message"], raw, closed)
    except (orjson.JSONDecodeError, KeyError, TypeError):
        return Seen(status, None, body.decode(errors="replace"), raw, closed)


def _body(reading: Any, head: bytes) -> bytes:
    lines = dict(line.lower().split(b": ", 1) for line in head.split(b"\r\n") if b": " in line)
    if b"content-length" in lines:
        return bytes(reading.read(int(lines[b"content-length"])))
    if lines.get(b"transfer-encoding") != b"chunked":
        return b""
    body = b""
    while size := int(reading.readline(), 16):
        body += reading.read(size + 2)[:-2]
    reading.readline()
    return body


async def ask_rpc(channel: grpc.aio.Channel, case: RpcCase, shown: Metadata) -> tuple[str, str, str]:
    """Make a case's call; its status, the reason if that is ours, and what was said."""
    path = case.method if case.method.startswith("/") else f"/inferloom.v1.{case.method}"
    how: dict[str, Any] = {"timeout": case.timeout, "metadata": (*case.metadata, *shown)}
    call: Any
    if isinstance(case.request, tuple):
        open_call: Any = channel.stream_stream(path)
        call = open_call(**how)
    else:
        make: Any = channel.unary_stream(path)
        compression = grpc.Compression.Gzip if case.compressed else None
        call = make(_bytes(case.request), compression=compression, **how)
    said = b""
    try:
        if isinstance(case.request, tuple):
            for each in case.request:
                await call.write(_bytes(each))
            await call.done_writing()
        while (response := await call.read()) is not grpc.aio.EOF:
            said += response
    except (grpc.aio.AioRpcError, asyncio.InvalidStateError):
        pass  # the status says it; writing to a call that is over is an invalid state
    code = await call.code()
    if code is grpc.StatusCode.OK:
        return "OK", "", said.decode("latin-1")
    trailing, initial = await call.trailing_metadata(), await call.initial_metadata()
    details = await call.details() or ""
    read = read_failure(grpc.aio.AioRpcError(code, initial, trailing, details))
    if not read.ours:
        return code.name, "", details
    return code.name, read.error.reason.value, f"{read.error.param}: {read.error.message}"


async def ask_link(
    channel: grpc.aio.Channel, case: LinkCase, shown: Metadata
) -> tuple[str, str, dict[int, str], str]:
    """Send a case's frames and a good call; the stream's status and what was said with it, how each call
    ended, and what was said of that."""
    good = link_frames.frame(link_frames.start(text("ok"), link_frames.GOOD))
    attach: Any = channel.stream_stream(link_frames.METHOD)
    call = attach(metadata=shown, timeout=PATIENCE_S)
    ends: dict[int, str] = {}
    said = ""
    wanted = {*case.ends, link_frames.GOOD}
    try:
        for each in (*case.frames, good) if case.status == "OK" else case.frames:
            await call.write(_bytes(each))
        while not wanted <= ends.keys() and (raw := await call.read()) is not grpc.aio.EOF:
            for end in link_pb2.AttachResponse.FromString(raw).ends:
                ends[end.call] = _reason(end)
                said += "" if end.call == link_frames.GOOD else end.message
    except (grpc.aio.AioRpcError, asyncio.InvalidStateError):
        pass  # the status says it
    if wanted <= ends.keys():
        call.cancel()
        return "OK", "", ends, said
    code = await call.code()
    return code.name, await call.details() or "", ends, said


def _reason(end: link_pb2.CallEnd) -> str:
    for each in end.details:
        info = error_details_pb2.ErrorInfo()
        if each.Unpack(info):
            return str(info.reason)
    return "OK" if end.code == 0 else f"code {end.code}"


def _bytes(request: Any) -> bytes:
    return request.SerializeToString() if isinstance(request, Message) else request
