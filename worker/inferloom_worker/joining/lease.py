"""The worker's side of its lease: it registers, renews, and comes back."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

import grpc

from inferloom.v1 import registry_pb2 as pb
from inferloom.v1.registry_pb2_grpc import RegistryServiceStub
from inferloom_mesh.backoff import backoff
from inferloom_mesh.channel import open_channel
from inferloom_mesh.durations import duration, seconds
from inferloom_mesh.errors import Reason
from inferloom_mesh.net import Address
from inferloom_mesh.roles import Role
from inferloom_mesh.security import OPEN, Security
from inferloom_mesh.status import from_rpc_error, read_failure
from inferloom_worker.joining.registry_choice import RegistryChoice

if TYPE_CHECKING:
    from inferloom.v1.registry_pb2_grpc import RegistryServiceAsyncStub

    Call = grpc.aio.StreamStreamCall[pb.KeepAliveRequest, pb.KeepAliveResponse]

log = logging.getLogger(__name__)

ANSWER_TIMEOUT = 2.0
"""Seconds that the registry may take to answer, before the connection is given up and made again."""

LONGEST_WAIT = 1.0
"""Most seconds between tries to reach a registry, once all have been tried."""

GIVE_BACK_TIMEOUT = 1.0
"""Seconds that giving the lease back may take. Without it the lease runs out by itself."""

_REFUSALS = (Reason.INVALID_ARGUMENT, Reason.PERMISSION_DENIED, Reason.NOT_A_PEER)

_ADVICE = {
    Reason.NOT_A_PEER: " Set INFERLOOM_MESH_SECRET_FILE or INFERLOOM_MESH_SECRET to the mesh's secret."
}


class FencedError(Exception):
    """Another process has registered this worker's name, so this one must end."""


class RegistrationRefusedError(Exception):
    """The registry will not have this worker as it is configured."""


@dataclass(slots=True)
class _Lease:
    id: str
    epoch: int
    interval: float
    models: pb.ModelSet | None
    """The models that the registry knows of; None: nobody knows."""
    capacity: int | None
    """The capacity that it knows of; None: nobody knows."""
    registry: Address
    """The registry that it was last renewed with."""
    renewed: bool = False


class LeaseKeeper:
    """Keeps a worker registered for as long as :meth:`run` runs.

    A registry that is down is no event for the worker: it keeps serving, and the keeper keeps trying. A
    lease that ran out or is unknown, as after a restart of the registry, is replaced by a new registration
    at once.

    With several registries over one store the lease goes along to the next one when a registry is lost. Each
    worker has one that is its own, by its name, so that they are spread; it goes back there after a while.

    Args:
        registries: Where the registries are; at least one.
        describe: Gives the worker as it is now. Called for each registration and renewal, on the event loop.
        load: Gives how busy it is now. Called for each renewal, on the event loop.
        ttl: Seconds that the lease should last without renewal. None: as the registry likes.
        renew_interval: Seconds between renewals. None: as the registry says, a third of the TTL.
        answer_timeout: Seconds that the registry may take to answer.
        security: What the worker shows the registry, and asks of it.
    """

    def __init__(
        self,
        registries: Sequence[Address],
        describe: Callable[[], pb.Worker],
        load: Callable[[], pb.Load],
        *,
        ttl: float | None = None,
        renew_interval: float | None = None,
        answer_timeout: float = ANSWER_TIMEOUT,
        security: Security = OPEN,
    ) -> None:
        self._registries = registries
        self._choice = RegistryChoice(registries, lambda: describe().id)
        self._describe = describe
        self._load = load
        self._ttl = ttl
        self._interval = renew_interval
        self._timeout = answer_timeout
        self._security = security
        self._lease: _Lease | None = None
        self._epoch = 0
        self._waits = backoff(most=LONGEST_WAIT)
        self._news = asyncio.Event()
        self._closing = asyncio.Event()
        self._registered = asyncio.Event()

    @property
    def epoch(self) -> int:
        """The highest epoch that was held; 0 before the first registration."""
        return self._epoch

    async def registered(self) -> None:
        """Wait until a lease is held."""
        await self._registered.wait()

    def notify(self) -> None:
        """Tell the registry at once that the worker's state, models or load changed."""
        self._news.set()

    async def run(self) -> None:
        """Keep the lease until :meth:`close`, then give it back.

        Raises:
            FencedError: The worker's name has been taken over. The process should end.
            RegistrationRefusedError: The registry refused the first registration for a reason that another
                try does not mend. (A later refusal is logged and tried again: the worker is serving.)
        """
        channels = [
            open_channel(registry, security=self._security, of=Role.REGISTRY) for registry in self._registries
        ]
        stubs = [RegistryServiceStub(channel) for channel in channels]
        keeping = asyncio.create_task(self._keep_registered(stubs), name="lease keeper")
        closing = asyncio.create_task(self._closing.wait(), name="lease keeper's end")
        try:
            await asyncio.wait({keeping, closing}, return_when=asyncio.FIRST_COMPLETED)
            if keeping.done():
                keeping.result()
        finally:
            keeping.cancel()
            closing.cancel()
            await asyncio.gather(keeping, closing, return_exceptions=True)
            await self._give_back(stubs)
            for channel in channels:
                await channel.close()

    def close(self) -> None:
        """End :meth:`run`. May be called before it, and twice."""
        self._closing.set()

    async def _keep_registered(self, stubs: Sequence[RegistryServiceAsyncStub]) -> None:
        while True:
            try:
                stub = stubs[self._choice.place]
                lease = self._lease or await self._register(stub)
                await self._renew_until_lost(stub, lease)
                if lease.renewed:
                    continue  # a lease that was good until now is replaced without waiting
            except grpc.aio.AioRpcError as failure:
                self._choice.failed(from_rpc_error(failure).message)
            except TimeoutError:
                self._choice.failed("It did not answer.")
            if self._choice.move_on():
                await asyncio.sleep(next(self._waits))

    async def _register(self, stub: RegistryServiceAsyncStub) -> _Lease:
        worker = self._describe()
        request = pb.RegisterRequest(worker=worker, previous_epoch=self._epoch)
        if self._ttl is not None:
            request.ttl.CopyFrom(duration(self._ttl))
        try:
            answer = await stub.Register(
                request,
                timeout=self._timeout,
                wait_for_ready=self._choice.alone,
                metadata=self._security.metadata,
            )
        except grpc.aio.AioRpcError as failure:
            self._raise_if_final(failure)
            raise
        self._epoch = answer.epoch
        interval = self._interval or seconds(answer.renew_interval)
        self._lease = _Lease(
            answer.lease_id, answer.epoch, interval, _models(worker), worker.capacity, self._choice.address
        )
        self._succeeded()
        self._registered.set()
        log.info(
            "registered as %s with the registry at %s, epoch %d",
            worker.id,
            self._choice.address,
            answer.epoch,
        )
        return self._lease

    def _raise_if_final(self, failure: grpc.aio.AioRpcError) -> None:
        read = read_failure(failure)
        if not read.ours:
            return
        error = read.error
        if error.reason is Reason.ALREADY_EXISTS:
            raise FencedError(error.message) from failure
        if error.reason in _REFUSALS and self._epoch == 0:
            raise RegistrationRefusedError(error.message + _ADVICE.get(error.reason, "")) from failure

    async def _renew_until_lost(self, stub: RegistryServiceAsyncStub, lease: _Lease) -> None:
        if lease.registry != self._choice.address:
            # What one registry was told may not have come to the other.
            lease.models, lease.capacity, lease.registry = None, None, self._choice.address
        call = stub.KeepAlive(wait_for_ready=self._choice.alone, metadata=self._security.metadata)
        call.add_done_callback(lambda _: self._news.set())  # a stream that breaks is noticed at once
        try:
            while True:
                self._news.clear()
                async with asyncio.timeout(self._timeout):
                    loss = await self._renew(call, lease)
                if loss is not None:
                    self._lose(loss)
                    return
                lease.renewed = True
                self._succeeded()
                if self._choice.goes_back():
                    return
                # Spread, so that workers that started together do not renew together.
                wait = lease.interval * random.uniform(0.8, 1.0)  # noqa: S311 # not a secret
                with suppress(TimeoutError):
                    # Not wait_for: before Python 3.12 it loses a cancellation that comes with the news.
                    async with asyncio.timeout(wait):
                        await self._news.wait()
        finally:
            call.cancel()

    async def _renew(self, call: Call, lease: _Lease) -> pb.LeaseLoss.ValueType | None:
        """Renew once. Returns why the lease is lost; None: it is not."""
        worker = self._describe()
        request = pb.KeepAliveRequest(
            lease_id=lease.id, epoch=lease.epoch, load=self._load(), state=worker.state
        )
        models, capacity = _models(worker), worker.capacity
        if models != lease.models:
            request.models.CopyFrom(models)
        if capacity != lease.capacity:
            request.capacity = capacity
        with suppress(asyncio.InvalidStateError):  # the stream has ended; reading says why
            await call.write(request)
        answer = await call.read()
        if not isinstance(answer, pb.KeepAliveResponse):
            raise TimeoutError("the registry ended the stream")
        if answer.loss or not seconds(answer.ttl):
            return answer.loss
        lease.models, lease.capacity = models, capacity
        return None

    def _lose(self, loss: pb.LeaseLoss.ValueType) -> None:
        self._lease = None
        self._registered.clear()
        if loss == pb.LEASE_LOSS_FENCED:
            raise FencedError("Another process has registered this worker's name.")
        log.info("the lease is lost (%s); registering again", pb.LeaseLoss.Name(loss))

    async def _give_back(self, stubs: Sequence[RegistryServiceAsyncStub]) -> None:
        lease, self._lease = self._lease, None
        if lease is None:
            return
        self._registered.clear()
        request, here = pb.DeregisterRequest(lease_id=lease.id, epoch=lease.epoch), self._choice.place
        for stub in (*stubs[here:], *stubs[:here]):
            try:
                await stub.Deregister(request, timeout=GIVE_BACK_TIMEOUT, metadata=self._security.metadata)
            except grpc.aio.AioRpcError as failure:
                log.info("the lease was not given back: %s", failure.code().name)
            else:
                return

    def _succeeded(self) -> None:
        self._choice.succeeded()
        self._waits = backoff(most=LONGEST_WAIT)


def _models(worker: pb.Worker) -> pb.ModelSet:
    return pb.ModelSet(models=worker.models, loading=worker.loading)
