"""Who follows responses in background: one look at the store serves all that follow the same one."""

import asyncio
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from inferloom_gateway.http.responses.under_way import News, UnderWay
from inferloom_mesh.errors import InferloomError, Reason

EVERY_S = 0.1
"""How often the store is asked for news of a response that has just changed."""

SELDOM_S = 1.0
"""How often at least."""

MOST = 1024
"""Streams that may follow responses in one process."""

MOST_OF_TENANT = 256
"""Those of one tenant among them."""


class Watch:
    """What the followers of one response share. Made on the event loop that uses it.

    Args:
        under_way: Where it is told.
        tenant: Whose it is.
        name: The response.
    """

    def __init__(self, under_way: UnderWay, tenant: str, name: str) -> None:
        self._under_way = under_way
        self._tenant = tenant
        self._name = name
        self._seen: tuple[int, bool] = -1, False
        self._failure: InferloomError | None = None
        self._looked = asyncio.Event()
        self._looking: asyncio.Task[None] | None = None
        self._reads: dict[int, asyncio.Task[News]] = {}

    async def news(self, after: int) -> News:
        """As :meth:`UnderWay.news`; who asks for the same at the same time gets the same answer."""
        read = self._reads.get(after)
        if read is None:
            read = asyncio.create_task(self._under_way.news(self._tenant, self._name, after))
            self._reads[after] = read
            read.add_done_callback(lambda done: self._read(after, done))
        return await asyncio.shield(read)

    async def more(self, after: int, patience: float) -> bool:
        """Wait for events after one number, or the end, so many seconds; return whether there is news.

        Raises:
            InferloomError: The store cannot be used.
        """
        if self._seen[0] > after:
            return True
        if self._looking is None or self._looking.done():
            self._failure, self._looked = None, asyncio.Event()
            self._looking = asyncio.create_task(self._look())
        with suppress(TimeoutError):
            await asyncio.wait_for(self._looked.wait(), patience)
            if self._failure is not None:
                raise self._failure.kept()
            last, over = self._seen
            return over or last > after
        return False

    def close(self) -> None:
        """Look no more."""
        if self._looking is not None:
            self._looking.cancel()

    def _read(self, after: int, done: "asyncio.Task[News]") -> None:
        del self._reads[after]
        if not done.cancelled():
            done.exception()  # whoever asked may have left

    async def _look(self) -> None:
        period = EVERY_S
        while True:
            try:
                seen = await self._under_way.seen(self._name)
            except InferloomError as failure:
                self._failure = failure
                self._looked.set()
                return
            period = EVERY_S if seen != self._seen else min(1.5 * period, SELDOM_S)
            self._seen = seen
            self._looked.set()
            self._looked = asyncio.Event()
            await asyncio.sleep(period)


class Watches:
    """All watches of a process.

    Args:
        under_way: Where responses are told.
    """

    def __init__(self, under_way: UnderWay) -> None:
        self._under_way = under_way
        self._watches: dict[tuple[str, str], Watch] = {}
        self._followers: Counter[tuple[str, str]] = Counter()
        self._of_tenants: Counter[str] = Counter()

    def check(self, tenant: str) -> None:
        """Raise InferloomError if no more may follow."""
        if self._of_tenants[tenant] >= MOST_OF_TENANT or self._of_tenants.total() >= MOST:
            message = "As many streams follow responses in background as may. Ask without stream, or later."
            raise InferloomError(Reason.RATE_LIMIT_EXCEEDED, message, retry_after=5.0)

    @contextmanager
    def watching(self, tenant: str, name: str) -> Iterator[Watch]:
        """Follow a response until the block ends. Raises as :meth:`check`."""
        self.check(tenant)
        key = tenant, name
        watch = self._watches.get(key)
        if watch is None:
            watch = self._watches[key] = Watch(self._under_way, tenant, name)
        self._followers[key] += 1
        self._of_tenants[tenant] += 1
        try:
            yield watch
        finally:
            self._followers[key] -= 1
            self._of_tenants[tenant] -= 1
            if not self._of_tenants[tenant]:
                del self._of_tenants[tenant]
            if not self._followers[key]:
                del self._followers[key], self._watches[key]
                watch.close()
