"""Calls that are refused at each door, and links of gateways that end amid something."""

import asyncio
from typing import Any

import grpc
import pytest

from inferloom.v1 import inference_pb2 as pb
from inferloom.v1 import link_pb2, registry_pb2
from inferloom.v1.link_pb2_grpc import LinkServiceStub
from inferloom.v1.registry_pb2_grpc import RegistryServiceStub
from inferloom_mesh.channel import open_channel
from tests.wire.echo_mesh import EchoMesh
from tests.wire.link_connection import LinkConnection

REFUSED = pb.GenerateRequest(model="m", text="abc", sampling=pb.SamplingOptions(temperature=9))

PIECE = link_pb2.StartPiece(call=1, data=bytes(2**18))
"""The first part of a start."""
WRONG = link_pb2.StartPiece(call=2, index=1, data=b"x")
"""What ends a link: a part without those before it."""


async def _refused(stream: Any) -> None:
    code = grpc.StatusCode.OK
    try:
        while await stream.read() is not grpc.aio.EOF:
            pass
    except grpc.aio.AioRpcError as failure:
        code = failure.code()
    assert code is grpc.StatusCode.INVALID_ARGUMENT


async def refusal_of_a_worker(mesh: EchoMesh) -> None:
    """A call of gRPC's at the worker that it refuses."""
    await _refused(mesh.workers[0].stub.Generate(REFUSED))


async def refusal_of_a_gateway(mesh: EchoMesh) -> None:
    """The same at the gateway."""
    await _refused(mesh.stub.Generate(REFUSED))


async def refusal_of_a_registry(mesh: EchoMesh) -> None:
    """A registration without a worker, and a renewal of nothing."""
    async with open_channel(mesh.registry) as channel:
        stub: Any = RegistryServiceStub(channel)
        with pytest.raises(grpc.aio.AioRpcError):
            await stub.Register(registry_pb2.RegisterRequest())
        await _refused(stub.KeepAlive(iter([registry_pb2.KeepAliveRequest()])))


async def link_that_leaves(mesh: EchoMesh) -> None:
    """A gateway that goes amid a start."""
    link = await LinkConnection.open(await _link_address(mesh))
    await link.write(link_pb2.AttachRequest(pieces=[PIECE]))
    async for _ in link:
        break
    link.cancel()
    await asyncio.sleep(0.05)


async def link_that_is_ended(mesh: EchoMesh) -> None:
    """One that is sent away for what it says."""
    link = await LinkConnection.open(await _link_address(mesh))
    await link.write(link_pb2.AttachRequest(pieces=[PIECE, WRONG]))
    async for _ in link:
        pass
    link.cancel()
    await asyncio.sleep(0.05)


async def stream_that_leaves(mesh: EchoMesh) -> None:
    """A gateway that is attached by gRPC, and goes amid a start."""
    stub: Any = LinkServiceStub(mesh.workers[0].channel)
    call = stub.Attach()
    await call.write(link_pb2.AttachRequest(pieces=[PIECE]))
    await call.read()
    call.cancel()
    await asyncio.sleep(0.05)


async def stream_that_is_ended(mesh: EchoMesh) -> None:
    """One that is sent away for what it says."""
    stub: Any = LinkServiceStub(mesh.workers[0].channel)
    await _refused(stub.Attach(iter([link_pb2.AttachRequest(pieces=[PIECE, WRONG])])))


async def _link_address(mesh: EchoMesh) -> str:
    return (await mesh.workers[0].status()).worker.link_address
