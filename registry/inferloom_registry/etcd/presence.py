"""Being there: a key in etcd that goes when its registry does."""

import asyncio
import logging

from inferloom.etcd import etcd_pb2 as pb
from inferloom_mesh.backoff import backoff
from inferloom_registry.etcd.client import EtcdClient
from inferloom_registry.etcd.faults import EtcdError
from inferloom_registry.etcd.methods import GRANT, KEEP_ALIVE, PUT, REVOKE

log = logging.getLogger(__name__)

TTL_S = 6
"""Seconds after which a registry that does not renew its lease is gone. Etcd measures it by its own monotonic
clock, stops while it has no leader, and begins anew with a new one."""

ANSWER_S = 2.0
"""Seconds that a renewal may take."""


class Presence:
    """Keeps a key in etcd under a lease of its own.

    Args:
        client: Etcd.
        key: The key.
        value: Its value, for people.
    """

    def __init__(self, client: EtcdClient, key: bytes, value: bytes) -> None:
        self.key = key
        self._client = client
        self._value = value
        self._lease = 0
        self._lost = asyncio.Event()

    @property
    def lease(self) -> int:
        """The lease, for whatever else shall go with the registry.

        Raises:
            EtcdError: There is none now.
        """
        if not self._lease:
            raise EtcdError("the registry's lease is lost, and not there again yet")
        return self._lease

    async def assert_now(self) -> int:
        """Write the key again, and return the revision of that. Raises EtcdError."""
        request = pb.PutRequest(key=self.key, value=self._value, lease=self.lease)
        return (await self._client.call(PUT, request)).header.revision

    async def begin(self) -> None:
        """Take a lease and write the key. Raises EtcdError: then the key is to be begun with anew."""
        self._lost.clear()
        try:
            granted = await self._client.call(GRANT, pb.LeaseGrantRequest(TTL=TTL_S))
            self._lease = granted.ID
            await self.assert_now()
        except EtcdError:
            self._lost.set()  # a lease without its key would be renewed for ever
            raise

    def lost(self) -> None:
        """Begin anew: the key is gone."""
        self._lost.set()

    async def keep(self) -> None:
        """Renew the lease until cancelled, and take another when it is gone."""
        waits = backoff(0.1, 1.0)
        while True:
            try:
                if self._lost.is_set() or not self._lease:
                    await self.begin()
                await self._renew()
                waits = backoff(0.1, 1.0)
            except EtcdError as failure:
                log.debug("the registry's lease could not be renewed: %s", failure)
            await asyncio.sleep(next(waits))

    async def end(self) -> None:
        """Give the lease back, and with it the key. Raises EtcdError."""
        lease, self._lease = self._lease, 0
        if lease:
            await self._client.call(REVOKE, pb.LeaseRevokeRequest(ID=lease), timeout=1.0)

    async def _renew(self) -> None:
        """Renew until the lease is gone."""
        async with self._client.stream(KEEP_ALIVE) as stream:
            while True:
                await stream.write(pb.LeaseKeepAliveRequest(ID=self._lease))
                answer = await stream.read(ANSWER_S)
                if answer.TTL <= 0:
                    log.warning("etcd let the registry's lease run out; taking another")
                    self._lease = 0
                    return
                try:
                    async with asyncio.timeout(TTL_S / 3):
                        await self._lost.wait()
                    return
                except TimeoutError:
                    continue
