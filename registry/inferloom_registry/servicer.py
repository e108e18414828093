"""The registry's gRPC face. It checks and translates; the registry decides."""

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Any

import grpc

from inferloom.v1 import registry_pb2 as pb
from inferloom.v1.registry_pb2_grpc import RegistryServiceServicer
from inferloom_mesh.durations import duration, seconds
from inferloom_mesh.errors import InferloomError, Reason, shown
from inferloom_mesh.identity import PEER
from inferloom_registry.addresses import AddressPolicy
from inferloom_registry.admission import (
    check_capacity,
    check_epoch,
    check_load,
    check_loading,
    check_models,
    check_size,
    check_state,
    check_worker,
    refusal,
)
from inferloom_registry.gateways import RENEW_S, Gateways, check_instance
from inferloom_registry.joining import Joining
from inferloom_registry.lease import LeaseLostError
from inferloom_registry.registry import Registry
from inferloom_registry.settings import RegistrySettings
from inferloom_registry.wire import registered_worker

MAX_LEASE_ID = 128
"""Longest lease id that is looked up, and told back."""

log = logging.getLogger(__name__)

Context = grpc.aio.ServicerContext[Any, Any]


class RegistryServicer(RegistryServiceServicer):
    """Serves ``inferloom.v1.RegistryService``."""

    def __init__(
        self,
        registry: Registry,
        addresses: AddressPolicy,
        settings: RegistrySettings,
        joining: Joining | None = None,
    ) -> None:
        self._registry = registry
        self._addresses = addresses
        self._settings = settings
        self._joining = joining
        self._gateways = Gateways(registry.table.now)

    async def Register(self, request: pb.RegisterRequest, context: Context) -> pb.RegisterResponse:
        ttl = self._ttl(request)
        check_epoch(request.previous_epoch)
        check_worker(request.worker)
        _check_name(request.worker.id)
        await self._addresses.check(request.worker.address)
        if request.worker.link_address:
            await self._addresses.check(request.worker.link_address, "worker.link_address")
        registration = await self._registry.register(request.worker, request.previous_epoch, ttl)
        return pb.RegisterResponse(
            lease_id=registration.lease_id,
            epoch=registration.epoch,
            ttl=duration(ttl),
            renew_interval=duration(ttl / 3),
        )

    async def KeepAlive(
        self, request_iterator: AsyncIterator[pb.KeepAliveRequest], context: Context
    ) -> AsyncIterator[pb.KeepAliveResponse]:
        async for request in request_iterator:
            yield await self._renew(request)

    async def Deregister(self, request: pb.DeregisterRequest, context: Context) -> pb.DeregisterResponse:
        _check_lease(request)
        await self._check_holder(request)
        try:
            await self._registry.deregister(request.lease_id, request.epoch)
        except LeaseLostError as lost:
            log.info("a lease was given back that is lost: %s", lost)
        return pb.DeregisterResponse()

    async def Join(self, request: pb.JoinRequest, context: Context) -> pb.JoinResponse:
        if self._joining is None:
            raise InferloomError(Reason.UNIMPLEMENTED, "This registry has no authority's key to sign with.")
        asked = (request.token, request.certificate_request, PEER.get())
        certificate, authority = await asyncio.to_thread(self._joining.join, *asked)
        return pb.JoinResponse(certificate=certificate, authority=authority)

    async def Watch(self, request: pb.WatchRequest, context: Context) -> AsyncIterator[pb.WatchResponse]:
        # A watch that resumes may have nothing to send for long; its caller should know that it stands.
        await context.send_initial_metadata(())
        if request.registry_id not in ("", self._registry.hub.registry_id):
            # Who comes from another registry must not be told less than that one told already.
            with suppress(InferloomError):
                await self._registry.catch_up()
        async for response in self._registry.hub.follow(request.from_revision, request.registry_id):
            yield response

    async def ListWorkers(self, request: pb.ListWorkersRequest, context: Context) -> pb.ListWorkersResponse:
        table = self._registry.table
        now = table.now()
        return pb.ListWorkersResponse(
            workers=[
                registered_worker(lease, now, kept=table.keeps(lease))
                for lease in table.leases()
                if not request.model or request.model in lease.models
            ],
            revision=table.revision,
            registry_id=self._registry.hub.registry_id,
            frozen=table.frozen,
            settling=table.settling,
        )

    async def AnnounceGateway(
        self, request: pb.AnnounceGatewayRequest, context: Context
    ) -> pb.AnnounceGatewayResponse:
        check_instance(request.gateway)
        if request.leaving:
            self._gateways.leave(request.gateway.instance)
        else:
            await self._addresses.check(request.gateway.address, "gateway.address")
            self._gateways.tell(request.gateway)
        return pb.AnnounceGatewayResponse(gateways=self._gateways.all(), renew_interval=duration(RENEW_S))

    async def ListGateways(
        self, request: pb.ListGatewaysRequest, context: Context
    ) -> pb.ListGatewaysResponse:
        return pb.ListGatewaysResponse(gateways=self._gateways.all())

    async def _renew(self, request: pb.KeepAliveRequest) -> pb.KeepAliveResponse:
        _check_lease(request)
        await self._check_holder(request)
        load = request.load if request.HasField("load") else None
        models = request.models if request.HasField("models") else None
        if load is not None:
            check_load(load)
        check_state(request.state, "state")
        if models is not None:
            check_size(models, "models")
            check_models(models.models, "models")
            check_loading(models.loading, "models.loading")
        check_capacity(request.capacity, 0, "capacity")
        try:
            renewed = await self._registry.renew(
                request.lease_id, request.epoch, load, request.state, models, request.capacity
            )
        except LeaseLostError as lost:
            return pb.KeepAliveResponse(lease_id=request.lease_id, ttl=duration(0), loss=lost.reason)
        return pb.KeepAliveResponse(lease_id=request.lease_id, ttl=duration(renewed.ttl))

    async def _check_holder(self, request: pb.KeepAliveRequest | pb.DeregisterRequest) -> None:
        await self._registry.hear_of(request.lease_id)
        if PEER.get() is None:
            return
        with suppress(LeaseLostError):  # nobody's
            _check_name(self._registry.table.held(request.lease_id, request.epoch).worker_id)

    def _ttl(self, request: pb.RegisterRequest) -> float:
        if not request.HasField("ttl"):
            return self._settings.lease_ttl_s
        ttl = seconds(request.ttl)
        least, most = self._settings.lease_ttl_min_s, self._settings.lease_ttl_max_s
        if not least <= ttl <= most:
            raise refusal("ttl", f"must be from {least:g} s to {most:g} s")
        return ttl


def _check_name(worker_id: str) -> None:
    """Make sure that a worker which shows a certificate speaks for itself."""
    peer = PEER.get()
    if peer is not None and peer.name != worker_id:
        raise InferloomError(
            Reason.PERMISSION_DENIED, f"The certificate is that of {peer}, which is not '{shown(worker_id)}'."
        )


def _check_lease(request: pb.KeepAliveRequest | pb.DeregisterRequest) -> None:
    if not request.lease_id:
        raise refusal("lease_id", "must be set")
    if len(request.lease_id) > MAX_LEASE_ID:
        raise refusal("lease_id", f"must be at most {MAX_LEASE_ID} characters long")
    if request.epoch == 0:
        raise refusal("epoch", "must be set")
