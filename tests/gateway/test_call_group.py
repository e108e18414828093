"""How a request ended: said once, by whoever ends its calls."""

import asyncio

import pytest

from inferloom.v1 import inference_pb2 as pb
from inferloom_gateway.calls.call_group import MOST_TOLD, CallGroup
from inferloom_gateway.calls.records import Record, Records
from inferloom_mesh.context import CallContext
from inferloom_mesh.errors import InferloomError, Reason
from tests.gateway.answering import Kept
from tests.gateway.virtual_time import run
from tests.gateway.waiting_mesh import READY, Mesh, state

TOO_LONG = InferloomError(Reason.CONTEXT_LENGTH_EXCEEDED, "Too long.")
REQUEST = pb.GenerateRequest(model="chat", text="it is asked")


class Asking:
    """One worker, and a request to it. Made on its loop."""

    def __init__(self) -> None:
        self.mesh = Mesh()
        self.records = Records(4)
        self.mesh.dispatcher.listeners.add(self.records)
        self.mesh.tell(state("w0", READY))
        self.worker = self.mesh.link("w0")

    def group(self) -> CallGroup:
        """Its calls."""
        context = CallContext("r", self.mesh.clock() + 600)
        return self.mesh.dispatcher.group(context, "generate", "chat")

    async def record(self) -> Record:
        """What is known of it in the end."""
        await self.mesh.answers([])
        (record,) = self.records
        return record


def test_a_call_that_failed_says_nothing_of_a_request_that_was_answered() -> None:
    """Whoever made it went on without it."""

    async def asking() -> Record:
        asking = Asking()
        asking.worker.says = [TOO_LONG]
        with asking.group() as calls:
            with pytest.raises(InferloomError):
                await calls.generate(REQUEST)
            await calls.collect(REQUEST, Kept)
        return await asking.record()

    record = run(asking())
    assert (record.error, record.cancelled) == (None, False)
    assert [each.error is not None for each in record.attempts] == [True, False]


@pytest.mark.parametrize(
    ("error", "reason", "cancelled"),
    [
        (TOO_LONG, Reason.CONTEXT_LENGTH_EXCEEDED, False),
        (ZeroDivisionError("a bug"), Reason.SERVER_ERROR, False),
        (asyncio.CancelledError(), None, True),
        (None, None, True),
    ],
)
def test_a_request_ends_as_it_is_closed(
    error: BaseException | None, reason: Reason | None, cancelled: bool
) -> None:
    """With what its caller is told, or given up; and the first word holds."""

    async def asking() -> Record:
        asking = Asking()
        calls = asking.group()
        await calls.generate(REQUEST)
        calls.close(error)
        calls.close(InferloomError(Reason.TIMEOUT, "Later."))
        return await asking.record()

    record = run(asking())
    assert (record.error and record.error.reason, record.cancelled) == (reason, cancelled)


def test_what_is_tried_for_long_may_go_anywhere_and_is_told_in_short() -> None:
    """A worker that it was about to go to binds nobody, and the last attempts are kept."""

    async def asking() -> Record:
        asking = Asking()
        with asking.group() as calls:
            for _ in range(2 * MOST_TOLD):
                asking.worker.says = [InferloomError(Reason.SERVER_OVERLOADED, "Full.", retry_after=0.1)]
                with pytest.raises(InferloomError):
                    await calls.generate(REQUEST)
                pin = calls.pin
                calls.anew()
                assert calls.pin is not pin
                await asyncio.sleep(1)
            await calls.collect(REQUEST, Kept)
        return await asking.record()

    record = run(asking())
    assert (record.error, record.cancelled) == (None, False)
    assert len(record.attempts) == MOST_TOLD + 1
    assert record.answered_by == "w0"
