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
from inferloom_worker.engines.sidecar.discovery import discover
from inferloom_worker.engines.sidecar.facts import Facts
from inferloom_worker.hosting.sidecar.model import SidecarModel

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
    bound = QueueBound(options.max_waiting, options.max_wait_s)
    log.info("%s: %s is served by %s", name, facts.model, facts.server)
    client = Client(address, key)
    return SidecarModel(name, facts, client, bound, options.max_running, options.context_length)


async def _found(name: str, address: ServerAddress, key: Key) -> Facts:
    client = Client(address, key)
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
