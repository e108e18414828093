"""From the address of a server to a served model. Blocking: it runs on a thread of its own."""

import asyncio
import logging
import time

from inferloom_mesh.backoff import backoff
from inferloom_mesh.errors import InferloomError
from inferloom_worker.engine.options import EngineOptions
from inferloom_worker.engine.queue_bound import QueueBound
from inferloom_worker.engines.sidecar.address import Key, ServerAddress
from inferloom_worker.engines.sidecar.client import Client
from inferloom_worker.engines.sidecar.discovery import Facts, discover
from inferloom_worker.hosting.sidecar.model import SidecarModel

SPARE = 16
"""Connections beyond the places, for vectors and scores."""

log = logging.getLogger(__name__)


def load_sidecar(name: str, spec: str, options: EngineOptions) -> SidecarModel:
    """Find out what a server is, waiting for it where it starts, and serve its model as ``name``.

    Raises:
        ValueError: The address is none, or what is there cannot be served; for people.
    """
    address = ServerAddress.parse(spec)
    key = address.read_key()
    facts = asyncio.run(_found(name, address, key))
    if not facts.tasks:
        raise ValueError("the server's model neither generates text nor gives vectors or scores")
    slots = address.slots or facts.slots or options.max_running
    bound = QueueBound(options.max_waiting, options.max_wait_s)
    log.info("%s: %s is served by %s, %d at once", name, facts.model, facts.server, slots)
    client = Client(address, key, slots + SPARE)
    return SidecarModel(name, facts, client, slots, bound, options.context_length)


async def _found(name: str, address: ServerAddress, key: Key) -> Facts:
    client = Client(address, key, 1)
    waits, end, told = backoff(most=2.0), time.monotonic() + address.wait_s, False
    try:
        while True:
            try:
                return await discover(client)
            except InferloomError as error:
                if time.monotonic() >= end:
                    raise ValueError(error.message) from None
                if not told:
                    log.warning("%s: waiting for its server at %s: %s", name, address.root, error.message)
                told = True
            await asyncio.sleep(next(waits))
    finally:
        await client.close()
