"""The gateway's parts, put together: one object that both façades work on."""

import asyncio
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Self

from inferloom_gateway.access.access import Access
from inferloom_gateway.access.admission import Admission, Settling
from inferloom_gateway.access.identity import ANONYMOUS, Identity
from inferloom_gateway.calls.attach.dialer import Dialer
from inferloom_gateway.calls.attach_link import AttachLink
from inferloom_gateway.calls.dispatch import Dispatcher
from inferloom_gateway.calls.gathering import Gathering
from inferloom_gateway.calls.grpc_link import GrpcLink
from inferloom_gateway.calls.in_flight import InFlight
from inferloom_gateway.calls.link import WorkerLink
from inferloom_gateway.calls.listener import Listeners
from inferloom_gateway.calls.poison import Poison
from inferloom_gateway.calls.records import Records
from inferloom_gateway.calls.waiting_room import WaitingRoom
from inferloom_gateway.fleet.connections import Connections
from inferloom_gateway.fleet.members import Fleet, Member
from inferloom_gateway.fleet.membership import Membership
from inferloom_gateway.settings import GatewaySettings
from inferloom_gateway.storage.storage import Storage
from inferloom_mesh.lateness import LoopMonitor
from inferloom_mesh.roles import Role
from inferloom_mesh.security import Security


@dataclass(frozen=True, slots=True)
class Gateway:
    """What a request needs to be answered."""

    settings: GatewaySettings
    fleet: Fleet
    connections: Connections[WorkerLink]
    membership: Membership
    dispatcher: Dispatcher
    room: WaitingRoom
    """Where requests wait while all workers are full."""
    listeners: Listeners
    """Are told of every request; add to them before the first one comes."""
    records: Records
    """The requests that ended lately."""
    storage: Storage
    monitor: LoopMonitor
    access: Access | None
    """Who may call, and how much. None: keys are off, and everybody may."""
    security: Security
    """What it shows the other services of the mesh, and asks of them."""
    clock: Callable[[], float]
    leaving: asyncio.Event
    """Set once the gateway was told to stop; it still takes requests for a while."""
    stopping: asyncio.Event
    """Set once the gateway takes nothing new."""
    gathering: Gathering
    """Runs while a worker's frame is taken in."""
    poison: Poison
    """Which requests have ended workers."""

    @classmethod
    def build(cls, settings: GatewaySettings, clock: Callable[[], float] = time.monotonic) -> Self:
        """Wire the parts; nothing runs yet.

        Raises:
            OSError: The key store, the file with the mesh's secret, a TLS file or the audit log cannot be
            used.
        """
        fleet, gathering = Fleet(settings.model_memory_s), Gathering()
        security = settings.security(Role.GATEWAY)
        dialer = Dialer(security) if settings.link == "attach" else None

        def connect(member: Member) -> WorkerLink:
            calls = GrpcLink(member.address, clock, security)
            if settings.link == "call":
                return calls
            return AttachLink(
                member.address,
                calls,
                clock,
                lambda load: member.take_load(load, clock()),
                gathering,
                dialer,
                lambda: member.link_address,
            )

        connections = Connections(connect, linger_s=settings.worker_timeout_s)
        listeners, records = Listeners(), Records(settings.request_records)
        listeners.add(records)
        access = (
            None if settings.keys is None else Access(settings.keys, security.secret, settings, fleet, clock)
        )
        if access is not None:
            listeners.add(Settling())
        room = WaitingRoom(fleet, settings.gateway_queue_size, settings.gateway_queue_s, clock)
        listeners.add(room)
        poison = Poison()
        in_flight = InFlight(fleet, connections, settings.max_in_flight, clock)
        return cls(
            settings,
            fleet,
            connections,
            Membership(settings.registry, fleet, connections, clock, security),
            Dispatcher(
                *(fleet, connections, in_flight, listeners, clock, settings.zone, room, poison),
                absent_wait_s=settings.absent_wait_s,
            ),
            room,
            listeners,
            records,
            Storage(settings),
            LoopMonitor(),
            access,
            security,
            clock,
            asyncio.Event(),
            asyncio.Event(),
            gathering,
            poison,
        )

    def deadline(self, budget: float | None = None, limit: float | None = None) -> float:
        """When a request that arrives now must be over; ``budget`` is what its caller allows, in seconds, and
        ``limit`` what the gateway does. None: what it allows most requests."""
        limit = self.settings.worker_timeout_s if limit is None else limit
        return self.clock() + (limit if budget is None else min(limit, budget))

    def identify(self, metadata: Iterable[tuple[str, Any]]) -> Identity:
        """Who makes a gRPC call. Raises InferloomError for who may not."""
        return ANONYMOUS if self.access is None else self.access.identify_call(metadata)

    def check(self, who: Identity) -> None:
        """Make sure that one who was let in, and goes on looking, still may.

        Raises:
            InferloomError: The key that was shown opens nothing any more, or that cannot be said now.
        """
        if self.access is not None:
            self.access.recall(who.tenant, who.key_id)

    def admission(self, identity: Identity, model: str, *, limited: bool = True) -> Admission | None:
        """What lets a request to a model in, and counts it; None: nobody counts what its caller does. One
        that is not ``limited`` was let in before.

        Raises:
            InferloomError: The model is not open to its caller.
        """
        return None if self.access is None else self.access.admission(identity, model, limited=limited)

    def ready(self) -> bool:
        """Whether the registry's whole set has been heard, and there is a model to call, and no stop."""
        return self.fleet.settled and not self.leaving.is_set() and self.fleet.serves_any()

    async def settled(self, patience: float = 1.0) -> None:
        """Wait for the first set of workers, at most ``patience`` s or until the registry has failed."""
        waits = [
            asyncio.create_task(event.wait()) for event in (self.membership.arrived, self.membership.failed)
        ]
        await asyncio.wait(waits, timeout=patience, return_when=asyncio.FIRST_COMPLETED)
        for wait in waits:
            wait.cancel()
