"""What a worker says of itself: to the registry, and to who asks it."""

import time
from collections.abc import Callable

from inferloom.v1 import registry_pb2 as pb
from inferloom_mesh import __version__
from inferloom_mesh.net import Address
from inferloom_worker.hosting.host import HostState, ModelHost

_STATES = {
    HostState.STARTING: pb.WORKER_STATE_STARTING,
    HostState.READY: pb.WORKER_STATE_READY,
    HostState.DRAINING: pb.WORKER_STATE_DRAINING,
    HostState.FAILED: pb.WORKER_STATE_DRAINING,
}


class SelfDescription:
    """Describes one worker as it is now; complete when :meth:`bind` was called.

    Args:
        host: Its models.
        capacity: Requests that it runs at once while no model is loaded.
        zone: Where it is; empty: it does not say.
        clock: Monotonic seconds.
    """

    def __init__(
        self,
        host: ModelHost,
        *,
        capacity: int,
        zone: str = "",
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.worker_id = ""
        self._address = self._link_address = ""
        self._host = host
        self._capacity = capacity
        self._labels = {"zone": zone} if zone else {}
        self._clock = clock
        self._measured = (clock(), 0)
        self._rate = 0.0

    def bind(self, worker_id: str, address: Address, link: Address | None = None) -> None:
        """Say the worker's name, and where others reach it, by gRPC and on the link's own port."""
        self.worker_id = worker_id
        self._address = str(address)
        self._link_address = "" if link is None else str(link)

    def worker(self) -> pb.Worker:
        """The worker. Called at each renewal of its lease: that is how often the cards' figures change."""
        self._host.refresh_cards()
        models = self._host.models
        return pb.Worker(
            id=self.worker_id,
            address=self._address,
            models=self._host.cards,
            state=_STATES[self._host.state],
            capacity=sum(model.slots for model in models) or self._capacity,
            version=__version__,
            labels=self._labels,
            loading=self._host.loading,
            link_address=self._link_address,
        )

    def load(self) -> pb.Load:
        """Its load over all models, with the rate of tokens since about a second ago or longer."""
        total = pb.Load()
        generated = 0
        for model in self._host.models:
            load = model.status().load
            total.running += load.running
            total.waiting += load.waiting
            total.free_kv_tokens += load.free_kv_tokens
            total.total_kv_tokens += load.total_kv_tokens
            generated += model.generated_tokens
        total.tokens_per_second = self._measure(generated)
        return total

    def _measure(self, generated: int) -> float:
        now = self._clock()
        since, before = self._measured
        if now - since >= 1.0:
            # A model that was unloaded takes its count along.
            self._rate = max(0, generated - before) / (now - since)
            self._measured = (now, generated)
        return self._rate
