"""Which history of etcd this is: a key that is written once, with a value that no other history has."""

import secrets

from inferloom.etcd import etcd_pb2 as pb
from inferloom_registry.etcd.client import EtcdClient
from inferloom_registry.etcd.methods import RANGE, TXN


class Lineage:
    """Tells an etcd that lost its data from the one that had it, also where so much has been written since
    that its revisions are as high again.

    Args:
        client: Etcd.
        key: The key.
    """

    def __init__(self, client: EtcdClient, key: bytes) -> None:
        self._client = client
        self._key = key
        self._value = secrets.token_hex(16).encode()

    async def begin(self) -> None:
        """Take the history for the one that is known; it gets a value if it has none. Raises EtcdError."""
        new = pb.Compare(target=pb.Compare.MOD, key=self._key, mod_revision=0)
        write = pb.RequestOp(request_put=pb.PutRequest(key=self._key, value=self._value))
        look = pb.RequestOp(request_range=pb.RangeRequest(key=self._key))
        answer = await self._client.call(TXN, pb.TxnRequest(compare=[new], success=[write], failure=[look]))
        if not answer.succeeded:
            self._value = answer.responses[0].response_range.kvs[0].value

    async def look(self, timeout: float) -> tuple[bool, int]:
        """Whether it still is the known history, and its revision. Raises EtcdError."""
        told = await self._client.call(RANGE, pb.RangeRequest(key=self._key), timeout=timeout)
        return [pair.value for pair in told.kvs] == [self._value], told.header.revision
