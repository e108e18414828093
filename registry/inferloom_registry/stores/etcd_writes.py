"""Group commit: writes that come while others are under way share a transaction."""

import asyncio
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

from inferloom.etcd import etcd_pb2 as etcd
from inferloom_registry.etcd.client import EtcdClient
from inferloom_registry.etcd.faults import EtcdError
from inferloom_registry.etcd.methods import TXN

AT_ONCE = 2
"""Transactions that are under way at most; what comes meanwhile waits for the next one."""

MOST = 64
"""Writes of one transaction; etcd takes 128 by default."""

MOST_BYTES = 512 * 1024
"""Bytes of one transaction, unless one write has more; etcd takes 1.5 MiB by default."""


@dataclass(eq=False, slots=True)
class Swap:
    """A key that is to have another value if it is as it was."""

    still: etcd.Compare
    writes: Sequence[etcd.RequestOp]
    """What gives it that. More than one go by themselves."""
    done: "asyncio.Future[etcd.TxnResponse]"

    @property
    def look(self) -> etcd.RequestOp:
        """What tells how the key is, if it is not as it was."""
        return etcd.RequestOp(request_range=etcd.RangeRequest(key=self.still.key))


class Writes:
    """Makes transactions of swaps.

    One that is alone goes at once. A transaction of several is done as a whole or not at all, so where it was
    not, because one of its keys had changed, each is tried by itself.
    """

    def __init__(self, client: EtcdClient) -> None:
        self._client = client
        self._waiting: deque[Swap] = deque()
        self._running: set[asyncio.Task[None]] = set()

    async def swap(self, still: etcd.Compare, writes: Sequence[etcd.RequestOp]) -> etcd.TxnResponse:
        """Do ``writes`` if ``still`` holds; the answer tells how the key is where it did not.

        Raises:
            EtcdError: Etcd is out of reach; whether it was done is not known.
        """
        swap = Swap(still, writes, asyncio.get_running_loop().create_future())
        self._waiting.append(swap)
        self._begin()
        return await swap.done

    async def close(self) -> None:
        """End what is under way."""
        for task in self._running:
            task.cancel()
        await asyncio.gather(*self._running, return_exceptions=True)

    def _begin(self) -> None:
        while self._waiting and len(self._running) < AT_ONCE:
            task = asyncio.create_task(self._commit(self._next()), name="etcd transaction")
            self._running.add(task)
            task.add_done_callback(self._over)

    def _over(self, task: asyncio.Task[None]) -> None:
        self._running.discard(task)
        self._begin()

    def _next(self) -> list[Swap]:
        swaps: list[Swap] = []
        keys: set[bytes] = set()
        size = 0
        while self._waiting and len(swaps) < MOST:
            first = self._waiting[0]
            size += sum(each.ByteSize() for each in first.writes)
            if swaps and (first.still.key in keys or size > MOST_BYTES or len(first.writes) > 1):
                break
            keys.add(first.still.key)
            swaps.append(self._waiting.popleft())
            if len(first.writes) > 1:
                break
        return swaps

    async def _commit(self, swaps: list[Swap]) -> None:
        try:
            if len(swaps) > 1:
                compare, success = [each.still for each in swaps], [each.writes[0] for each in swaps]
                answer = await self._client.call(TXN, etcd.TxnRequest(compare=compare, success=success))
                if answer.succeeded:
                    for each in swaps:
                        _tell(each, answer)
                    return
            for each in swaps:
                request = etcd.TxnRequest(compare=[each.still], success=each.writes, failure=[each.look])
                _tell(each, await self._client.call(TXN, request))
        except EtcdError as failure:
            for each in swaps:
                if not each.done.done():
                    each.done.set_exception(failure)
        finally:
            for each in swaps:
                each.done.cancel()


def _tell(swap: Swap, answer: etcd.TxnResponse) -> None:
    if not swap.done.done():
        swap.done.set_result(answer)
