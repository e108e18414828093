"""Generations that outlive their calls."""

import time
from collections import deque
from collections.abc import Mapping, Sequence
from types import TracebackType

from inferloom.v1.inference_pb2 import (
    ContinueGenerateRequest,
    GenerateRequest,
    GenerateResponse,
    Heartbeat,
)
from inferloom_gateway.calls.call_group import CallGroup
from inferloom_gateway.calls.records import Record
from inferloom_gateway.contract.service import NO_HEADERS
from inferloom_gateway.storage.streams import KeptStream
from inferloom_gateway.streams.asking import STREAM_HEADER
from inferloom_gateway.streams.desk import New, Restore, StreamDesk
from inferloom_gateway.streams.follower import Follower, Reader
from inferloom_gateway.streams.generation import Generation
from inferloom_mesh.closing import Closing
from inferloom_mesh.errors import invalid, unsupported
from inferloom_mesh.request_id import is_request_id

GENERATE = "generate"
"""The endpoint that such streams are kept as."""


SILENCE_S = 15.0
"""How long a stream is silent before a Heartbeat, in seconds; proxies wait for 30 at least."""


def _asked(kept: KeptStream) -> list[GenerateRequest]:
    return [GenerateRequest.FromString(kept.body)]


RESTORE: Mapping[str, Restore] = {GENERATE: _asked}


class _Followed:
    """The events of a stream, each with its sequence, and Heartbeats without one while nothing comes."""

    def __init__(self, follower: Follower, first: int) -> None:
        self._follower = follower
        self._next = first
        self._held: deque[bytes] = deque()
        self._told = time.monotonic()

    async def read(self) -> GenerateResponse | None:
        while not self._held:
            found: Sequence[bytes] | None = await self._follower.read()
            if found is None:
                return None
            self._held.extend(found)
            if not found and time.monotonic() - self._told >= SILENCE_S:
                self._told = time.monotonic()
                return GenerateResponse(heartbeat=Heartbeat())
        event = GenerateResponse.FromString(self._held.popleft())
        if event.HasField("started"):
            event.started.ClearField("prompt_token_ids")  # they are kept for who goes on with it
        event.sequence = self._next
        self._next += 1
        self._told = time.monotonic()
        return event


class _Call(Closing):
    """What a call that follows a stream has."""

    def __init__(self, desk: StreamDesk, reader: Reader) -> None:
        self.headers = NO_HEADERS
        self._desk = desk
        self._reader = reader
        self._follower: Follower | None = None

    async def answer(self) -> None:
        raise AssertionError("it streams")

    def close(self) -> None:
        if self._follower is not None:
            self._follower.close()

    async def _follow(self, name: str, first: int, new: New | None = None) -> _Followed:
        self._follower = follower = await self._desk.attach(self._reader, name, first, new)
        if follower.kept.prompts > 1:  # an event of the contract does not say which
            raise unsupported("id", "The stream answers several prompts: GET /v1/streams goes on with it.")
        self.headers = {STREAM_HEADER: name}
        return _Followed(follower, first)


class Continued(_Call):
    """A call that goes on with a stream."""

    record: Record | None = None

    def __init__(self, desk: StreamDesk, reader: Reader, request: ContinueGenerateRequest) -> None:
        super().__init__(desk, reader)
        self._request = request

    async def events(self) -> _Followed:
        """Those behind the last that the caller has.

        Raises:
            InferloomError: There is no such stream, it answers several prompts, or as many follow as may.
        """
        request = self._request
        return await self._follow(request.stream, request.after + 1 if request.HasField("after") else 0)


class Resumable(_Call):
    """A call that begins a stream.

    Args:
        desk: Makes it from when a worker has accepted it.
        reader: Who asks.
        calls: Asks the workers.
        request: What is asked.
        seconds: For how long it outlives its readers.
        time_left: In how many seconds it is to be over, as its caller says. None: he does not.
    """

    def __init__(
        self,
        desk: StreamDesk,
        reader: Reader,
        calls: CallGroup,
        request: GenerateRequest,
        seconds: float,
        time_left: float | None,
    ) -> None:
        super().__init__(desk, reader)
        self.record = calls.record
        self._calls: CallGroup | None = calls
        self._request = request
        self._seconds = seconds
        self._time_left = time_left

    async def events(self) -> _Followed:
        """All of them, once a worker has accepted the request.

        Raises:
            InferloomError: None has, its name can be no stream's, or as many are kept as may be.
        """
        calls, request, tenant = self._calls, self._request, self._reader.identity.tenant
        assert calls is not None, "events are asked for once"
        if not is_request_id(request.request_id):  # it becomes a header
            raise invalid("request_id", "request_id must be 1 to 128 visible ASCII characters.")
        now = time.time()
        deadline = None if self._time_left is None else now + self._time_left
        kept = KeptStream(
            *(tenant, request.request_id, GENERATE, request.SerializeToString(), int(now), self._seconds),
            deadline=deadline,
        )

        async def start() -> list[Generation]:
            generation = Generation(0, request)
            generation.begin(await calls.generate(request))
            return [generation]

        followed = await self._follow(request.request_id, 0, New(kept, calls, start))
        self._calls = None
        return followed

    def close(self, error: BaseException | None = None) -> None:
        """Leave the stream; one that no worker has accepted ends."""
        calls, self._calls = self._calls, None
        if calls is not None:
            calls.close(error)
        super().close()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close(error)
