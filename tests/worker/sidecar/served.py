"""A worker that serves a server's model as ``m``."""

from typing import Any

from inferloom.v1 import inference_pb2 as pb
from tests.patience import until_async
from tests.wire.running_worker import RunningWorker, chat_request
from tests.worker.sidecar.fake_server import FakeServer


def spec(server: FakeServer, **options: str) -> str:
    """The server as a worker's model ``m``."""
    query = "&".join(f"{name}={value}" for name, value in options.items())
    return f"m=sidecar:{server.url}?{query}"


async def card_of(worker: RunningWorker) -> pb.Model:
    """The card of the one model of a worker."""
    card: pb.Model = (await worker.stub.ListModels(pb.ListModelsRequest())).models[0]
    return card


def ask(text: str = "hello", **fields: Any) -> pb.GenerateRequest:
    """A question for the model."""
    return chat_request(text, model="m", **fields)


async def until_models(worker: RunningWorker, names: list[str]) -> None:
    """Return when just these can be asked for."""

    async def listed() -> list[str]:
        return [card.id for card in (await worker.status()).worker.models]

    await until_async(listed, f"the models {names}", lambda seen: seen == names)


async def looked(server: FakeServer) -> None:
    """Return when the look is over that follows the start; the next comes with the beat."""
    await until_async(lambda: server.seen, "the first look", lambda seen: "/metrics" in seen)
