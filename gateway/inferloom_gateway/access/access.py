"""Who may call a gateway, and how much: keys, scopes, limits and usage, put together for its doors."""

import time
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any, TypeVar

from inferloom_gateway.access.admission import Admission, ClosedKeys
from inferloom_gateway.access.endpoints import of_method
from inferloom_gateway.access.following import Following
from inferloom_gateway.access.identity import OPERATOR, OPERATOR_ID, Identity
from inferloom_gateway.access.keyring import bearer
from inferloom_gateway.access.limits.counts import Ask, Counts
from inferloom_gateway.access.limits.local_counts import LocalCounts
from inferloom_gateway.access.limits.redis_counts import RedisCounts
from inferloom_gateway.access.standing import Headers
from inferloom_gateway.access.stores.opening import open_store
from inferloom_gateway.access.stores.protocol import KeyStore, is_redis
from inferloom_gateway.access.usage import UsageMeter
from inferloom_gateway.fleet.members import Fleet
from inferloom_gateway.settings import GatewaySettings
from inferloom_mesh.errors import InferloomError
from inferloom_mesh.identity import PeerIdentity
from inferloom_mesh.secret import KEY, MeshSecret

T = TypeVar("T")


class Access:
    """One gateway's.

    Args:
        where: The store's place.
        secret: The mesh's; who shows it is the mesh's operator, and may do everything.
        settings: The gateway's.
        fleet: Knows the models.
        clock: Monotonic seconds.

    Raises:
        StoreError: The store cannot be used.
    """

    def __init__(
        self,
        where: str,
        secret: MeshSecret | None,
        settings: GatewaySettings,
        fleet: Fleet,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._where = where
        self._secret = secret
        self._settings = settings
        self._fleet = fleet
        store = open_store(where)
        self._usage = UsageMeter(store)
        self._closed = ClosedKeys()
        self._following = Following(store, self._usage, clock, self._closed.clear)
        self._counts: Counts | None = None

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Follow the store and count, until the block ends.

        Raises:
            OSError: The counts of the gateway's processes cannot be shared.
        """
        async with AsyncExitStack() as stack:
            await stack.enter_async_context(self._following.running())
            seat = self._settings.seat
            if is_redis(self._where):
                self._counts = counts = RedisCounts(self._where)
                await stack.enter_async_context(counts.working())
            elif seat is not None and seat.counts is not None:
                self._counts = LocalCounts.shared(seat.counts, seat.number)
            else:
                self._counts = LocalCounts.private()
            yield

    def identify(self, authorizations: list[str], tokens: Sequence[str]) -> Identity:
        """Who a request comes from.

        Args:
            authorizations: Its Authorization headers.
            tokens: What it shows as the mesh's secret.

        Raises:
            InferloomError: Nobody who may call, or that cannot be said now.
        """
        if not authorizations and self._secret is not None and any(map(self._secret.shown, tokens)):
            return OPERATOR
        keyring = self._following.keyring
        key = keyring.key(bearer(authorizations), time.time())
        policy = keyring.tenant(key.tenant)
        return Identity(key.tenant, key.id, key, 1.0 if policy is None else policy.share)

    def knows(self, key_id: str) -> bool:
        """Whether a key is there, whatever it opens. Raises InferloomError where that cannot be said now."""
        return not key_id or key_id == OPERATOR_ID or key_id in self._following.keyring.keys

    def recall(self, tenant: str, key_id: str) -> Identity:
        """Who asked for something that is done only now.

        Raises:
            InferloomError: The key that was shown then opens nothing any more, or that cannot be said now.
        """
        if not key_id or key_id == OPERATOR_ID:
            return Identity(tenant, key_id)
        keyring = self._following.keyring
        key = keyring.known(key_id, time.time())
        policy = keyring.tenant(tenant)
        return Identity(tenant, key_id, key, 1.0 if policy is None else policy.share)

    def check(
        self, method: str, metadata: Sequence[tuple[str, Any]], peer: PeerIdentity | None = None
    ) -> None:
        """Let a call of the gRPC door in: see :class:`inferloom_mesh.guard.Guard`. Certificates say nothing
        here: those of a door's callers need not be the mesh's."""
        self.identify_call(metadata).check_endpoint(of_method(method))

    def identify_call(self, metadata: Iterable[tuple[str, Any]]) -> Identity:
        """Who a gRPC call comes from. Raises as :meth:`identify`."""
        authorizations, tokens = [], []
        for name, value in metadata:
            if name == "authorization":
                authorizations.append(str(value))
            elif name == KEY:
                tokens.append(str(value))
        return self.identify(authorizations, tokens)

    def admission(self, identity: Identity, model: str, *, limited: bool = True) -> Admission | None:
        """What lets a request to a model in, and counts it; None: nobody counts what its caller does. One
        that is not ``limited`` was let in before, elsewhere: what it uses is counted, and it is not refused.

        Raises:
            InferloomError: The model is not open to its caller.
        """
        identity.check_model(model)
        if identity.key is None or self._counts is None:
            return None
        keyring, share = self._following.keyring, self._settings.limits_share
        holding = self._fleet.holding(model)
        asks = [(f"key:{identity.key_id}", identity.key.limits)]
        if (tenant := keyring.tenant(identity.tenant)) is not None:
            asks.append((f"tenant:{identity.tenant}", tenant.limits))
        if (
            holding and (policy := keyring.model(model)) is not None
        ):  # names that callers make up count nowhere
            asks.append((f"model:{model}", policy.limits))
        context = holding[0].models[model].context_length if holding else 0
        counted = [Ask(bucket, limits.times(share)) for bucket, limits in asks if limited and limits.any]
        return Admission(self._counts, counted, identity.key_id, context, self._usage, self._closed)

    async def use_store(self, work: Callable[[KeyStore], T]) -> T:
        """Do something with the store of the keys; see :meth:`Following.use`."""
        return await self._following.use(work)

    def closed(self, identity: Identity) -> tuple[InferloomError, Headers] | None:
        """Why a caller has no requests left, and the headers that say so; None: he may have some."""
        return self._closed.closed(identity.key_id)
