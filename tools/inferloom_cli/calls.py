"""Calls to a running mesh, with failures in one line."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import grpc

from inferloom_cli.probe import http_answer, reachable
from inferloom_cli.refusal import RefusedError
from inferloom_mesh.channel import open_channel
from inferloom_mesh.net import Address
from inferloom_mesh.status import read_failure

DEADLINE_S = 10.0
"""How long a question about the mesh may take."""


@asynccontextmanager
async def calling(service: str, address: Address) -> AsyncIterator[grpc.aio.Channel]:
    """A channel to ``service`` (its name for people), for calls inside the block.

    Raises:
        RefusedError: A call failed, or nothing listens there.
    """
    async with open_channel(address) as channel:
        try:
            yield channel
        except grpc.aio.AioRpcError as failure:
            raise RefusedError(reason(failure, service, address)) from failure


def reason(failure: grpc.aio.AioRpcError, service: str, address: Address) -> str:
    """Say why a call failed. Blocks for a moment where nothing answered in gRPC."""
    read = read_failure(failure)
    if read.ours:
        return read.error.message
    if failure.code() is grpc.StatusCode.UNAVAILABLE:
        if (answer := http_answer(reachable(address))) is not None:
            if answer.grpc and service == "gateway":
                return f"{address.port} speaks HTTP; gRPC is on {answer.grpc.rpartition(':')[2]}"
            return f"{address} speaks HTTP, not gRPC – name the {service}'s gRPC port with --{service}"
        return (
            f"no {service} at {address} – name another with --{service} or INFERLOOM_{service.upper()}, "
            "or start one with `inferloom up`"
        )
    if failure.code() is grpc.StatusCode.DEADLINE_EXCEEDED:
        return f"the {service} at {address} did not answer in time"
    return f"the {service} at {address} answered {failure.code().name}: {failure.details()}"
