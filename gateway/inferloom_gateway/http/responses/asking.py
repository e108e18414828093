"""Asks workers for a response; where its conversation is too long and may be cut, for one that fits."""

from collections.abc import Awaitable, Callable
from typing import TypeVar

from inferloom.v1 import inference_pb2 as pb
from inferloom_gateway.calls.call_group import CallGroup
from inferloom_gateway.http.responses.making import Making
from inferloom_gateway.http.translate.fields import restate
from inferloom_gateway.http.translate.responses import truncation
from inferloom_gateway.http.translate.responses.request import Asked
from inferloom_gateway.http.translate.responses.turns import rename
from inferloom_mesh.errors import InferloomError, Reason

T = TypeVar("T")

_TOO_LONG = Reason.CONTEXT_LENGTH_EXCEEDED


async def ask(making: Making, calls: CallGroup, call: Callable[[pb.GenerateRequest], Awaitable[T]]) -> T:
    """What ``call`` gives for the request of a response, whose oldest turns give way if it says so.

    Raises:
        InferloomError: In the caller's words.
    """
    asked = making.asked
    try:
        try:
            return await call(asked.request)
        except InferloomError as failure:
            if failure.reason is not _TOO_LONG or making.body.truncation != "auto":
                raise
            shorter = await _fitting(asked, calls)
            if shorter is None:
                raise
            asked = shorter
        return await call(asked.request)
    except InferloomError as failure:
        raise restate(failure, rename(asked.turns, asked.tools)) from failure


async def _fitting(asked: Asked, calls: CallGroup) -> Asked | None:
    """The same request with as few turns left out as makes it fit; None: no number does."""
    groups = truncation.droppable(asked.turns)

    def without(count: int) -> Asked:
        return asked.without([turn for group in groups[:count] for turn in group])

    async def fits(count: int) -> bool:
        return await _fits(without(count), calls)

    if not groups or not await fits(len(groups)):
        return None
    too_few, enough = 0, len(groups)
    while enough - too_few > 1:
        middle = (too_few + enough) // 2
        if await fits(middle):
            enough = middle
        else:
            too_few = middle
    return without(enough)


async def _fits(asked: Asked, calls: CallGroup) -> bool:
    """Whether a prompt leaves room for its answer."""
    try:
        read = await calls.tokenize(asked.tokenized())
    except InferloomError as failure:
        if failure.reason is _TOO_LONG:
            return False
        raise
    stopping = asked.request.stopping
    most = stopping.max_tokens if stopping.HasField("max_tokens") else None
    return len(read.token_ids) + truncation.reserve(most, read.context_length) <= read.context_length
