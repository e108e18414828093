"""Requests to a server that are answered in one body: for vectors and scores."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from dataclasses import dataclass
from typing import Any

from inferloom_mesh.errors import InferloomError, server_error
from inferloom_worker.embed.options import Caller
from inferloom_worker.embed.vector_stream import VectorStream
from inferloom_worker.engines.sidecar.client import Client
from inferloom_worker.engines.sidecar.failures import lost
from inferloom_worker.engines.sidecar.places import Place, Places
from inferloom_worker.engines.sidecar.sse import MalformedError

Compute = Callable[[VectorStream], Coroutine[Any, Any, None]]
"""Fills a stream."""


class Posts:
    """Has them asked, each in its turn, and knows those that are under way. Lives on the event loop.

    Args:
        client: Speaks to the server.
        places: Its places: a stream takes one.
        judged: Says what one ends with that failed.
    """

    def __init__(
        self,
        client: Client,
        places: Places,
        judged: Callable[[InferloomError], Awaitable[InferloomError]],
    ) -> None:
        self._client = client
        self._places = places
        self._judged = judged
        self._running: dict[VectorStream, _Running] = {}

    async def post(self, stream: VectorStream, path: str, body: object) -> Mapping[str, Any]:
        """The answer to one, for a stream; errors as :meth:`Client.post`."""
        self._running[stream].asked = time.monotonic()
        return await self._client.post(f"{self._client.address.api}{path}", body)

    def stream(self, count: int, caller: Caller, compute: Compute) -> VectorStream:
        """A stream of ``count`` rows that ``compute`` fills in its turn, and which ends with it.

        Raises:
            InferloomError: SERVER_OVERLOADED, WAIT_TOO_LONG: too many wait.
        """
        place = self._places.join(1, caller.tenant, 0, None)
        stream = VectorStream(count, lambda: task.cancel())
        task = asyncio.get_running_loop().create_task(self._run(stream, place, compute), name="vectors")
        task.add_done_callback(lambda _: self._over(stream, place))  # also of one that never began
        self._running[stream] = _Running(task)
        return stream

    def fail(self, error: InferloomError, silent_s: float = 0.0) -> None:
        """End those whose answer has been waited for ``silent_s`` seconds."""
        latest = time.monotonic() - silent_s
        for stream, running in tuple(self._running.items()):
            if running.asked is not None and running.asked <= latest:
                stream.fail(error.kept())
                running.task.cancel()

    async def _run(self, stream: VectorStream, place: Place, compute: Compute) -> None:
        joined = time.monotonic()
        try:
            await place.come()
            stream.queue_s = time.monotonic() - joined
            try:
                await compute(stream)
            except MalformedError as failure:
                raise lost(f"it answered {failure}") from None
            stream.compute_s = time.monotonic() - joined - stream.queue_s
        except InferloomError as error:
            stream.fail(await self._judged(error))
        except Exception:  # a bug: its caller must hear of it, or waits for ever
            stream.fail(server_error())
            raise

    def _over(self, stream: VectorStream, place: Place) -> None:
        del self._running[stream]
        place.leave()


@dataclass(slots=True)
class _Running:
    task: "asyncio.Task[None]"
    asked: float | None = None
    """When what it waits for was asked."""
