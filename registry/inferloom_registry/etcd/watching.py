"""Following the keys that begin alike."""

from collections.abc import AsyncGenerator

from inferloom.etcd import etcd_pb2 as pb
from inferloom_registry.etcd.client import EtcdClient
from inferloom_registry.etcd.faults import CompactedError, EtcdError
from inferloom_registry.etcd.methods import RANGE, WATCH

CREATED_S = 2.0
"""Seconds that a member may take to begin a watch."""

PAGE = 64
"""Pairs that are read at once: a registration takes at most half a megabyte."""


def range_end(prefix: bytes) -> bytes:
    """The first key behind all that begin with ``prefix``, whose last byte is below 255."""
    return prefix[:-1] + bytes([prefix[-1] + 1])


async def snapshot(client: EtcdClient, prefix: bytes) -> tuple[list[pb.KeyValue], int]:
    """All keys that begin with ``prefix`` as they were at one revision, and that revision.

    Raises:
        EtcdError: Etcd is out of reach.
    """
    request = pb.RangeRequest(key=prefix, range_end=range_end(prefix), limit=PAGE)
    found: list[pb.KeyValue] = []
    while True:
        page = await client.call(RANGE, request)
        request.revision = request.revision or page.header.revision
        found += page.kvs
        if not page.more:
            return found, request.revision
        request.key = page.kvs[-1].key + b"\0"


async def watch(client: EtcdClient, prefix: bytes, start: int) -> AsyncGenerator[pb.WatchResponse, None]:
    """Yield the changes of keys that begin with ``prefix``, from revision ``start`` on, each once.

    Raises:
        CompactedError: The changes from ``start`` on are not kept any more.
        EtcdError: The member fails, or has no leader.
    """
    create = pb.WatchCreateRequest(
        key=prefix, range_end=range_end(prefix), start_revision=start, progress_notify=True, fragment=True
    )
    async with client.stream(WATCH) as stream:
        await stream.write(pb.WatchRequest(create_request=create))
        response = await stream.read(CREATED_S)
        while True:
            if response.compact_revision:
                raise CompactedError(f"etcd keeps nothing before {response.compact_revision}")
            if response.canceled:
                client.forget_login()  # what a token that is too old looks like here
                raise EtcdError(response.cancel_reason or "etcd ended the watch")
            if not response.created:
                yield response
            response = await stream.read()
