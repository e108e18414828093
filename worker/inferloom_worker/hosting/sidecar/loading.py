"""From the address of a server to a served model, which is away until the server was asked."""

from inferloom_worker.engine.options import EngineOptions
from inferloom_worker.engine.queue_bound import QueueBound
from inferloom_worker.engines.sidecar.address import ServerAddress
from inferloom_worker.engines.sidecar.client import Client
from inferloom_worker.hosting.sidecar.model import SidecarModel


def load_sidecar(name: str, spec: str, options: EngineOptions) -> SidecarModel:
    """Read where a server is, to serve its model as ``name``. Nothing is asked yet.

    Raises:
        ValueError: The address is none, or its key cannot be read; for people.
    """
    address = ServerAddress.parse(spec)
    client = Client(address, address.key_source())
    bound = QueueBound(options.max_waiting, options.max_wait_s)
    return SidecarModel(name, client, bound, options.max_running, options.context_length)
