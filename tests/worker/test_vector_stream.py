"""The vectors of one request, as they are computed."""

import numpy as np
import pytest

from inferloom_mesh.errors import InferloomError, server_error
from inferloom_worker.embed.vector_stream import VectorStream

ROW = np.zeros(2, np.float32)


async def test_rows_come_in_order_and_an_error_behind_them() -> None:
    """Each run of them as soon as it has no gap."""
    stream = VectorStream(4)
    stream.put(2, ROW)
    stream.put(0, ROW)
    stream.put(1, ROW)
    stream.fail(server_error())
    first, rows = await anext(stream)
    assert (first, len(rows)) == (0, 3)
    with pytest.raises(InferloomError):
        await anext(stream)


async def test_streams_that_one_fault_ends_have_errors_of_their_own() -> None:
    """One that is raised holds the frames that it went through: no request's are to be another's."""
    fault = server_error()
    told = []
    for stream in (VectorStream(1), VectorStream(1)):
        stream.fail(fault)
        with pytest.raises(InferloomError) as raised:
            await anext(stream)
        told.append(raised.value)
    assert [each.message for each in told] == [fault.message] * 2
    assert told[0] is not told[1]
    assert fault.__traceback__ is None
