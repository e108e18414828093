"""Calls that are made by themselves, on a real channel."""

import pytest

from inferloom_gateway.calls.grpc_link import GrpcLink
from inferloom_mesh.context import CallContext
from tests.wire.gateway_line import Asked, unused
from tests.wire.running_worker import text_request


@pytest.mark.parametrize("named", [True, False])
async def test_a_call_for_which_there_was_no_connection_was_not_sent(named: bool) -> None:
    """Whether the worker's name is not known, or nobody listens there."""
    link, asked = GrpcLink("nowhere.invalid:1" if named else unused()), Asked()
    call = link.generate(text_request(), CallContext("r"), asked)
    failure = await asked.over()
    assert failure is not None
    assert failure.verdict.lost
    assert not call.sent
    await link.close(None)
