"""Questions to a server of which nothing is known yet, and what may be taken of its answers."""

from collections.abc import Mapping
from typing import Any

from inferloom_mesh.errors import InferloomError, Reason
from inferloom_worker.engines.sidecar import reading
from inferloom_worker.engines.sidecar.client import Answer, Client
from inferloom_worker.engines.sidecar.facts import UnfitError
from inferloom_worker.engines.sidecar.sse import MalformedError

MOST_MODELS = 4096
"""Models of which a server may tell."""

_UNREACHED = (Reason.NO_WORKER, Reason.WORKER_LOST, Reason.TIMEOUT)
_PROBE_S = 60.0
"""How long the server may take for a text of one letter."""

_MOST_NAME = 256


class Questions:
    """Those to one server. All raise InferloomError if it cannot be asked, and MalformedError if it answers
    nonsense.

    Args:
        client: Speaks to it.
    """

    def __init__(self, client: Client) -> None:
        self.client = client
        self.address = client.address

    async def vector(self, model: str) -> list[float]:
        """The vector of a text of one letter.

        Raises:
            UnfitError: It gives none.
        """
        body = {"model": model, "input": "a"}
        answer = await self.attempt(f"{self.address.api}/embeddings", body)
        if answer.status != 200:
            raise UnfitError("the server gives no vectors for a text")
        return first_vector(answer.json())

    async def attempt(self, url: str, body: object) -> Answer:
        """What it says to a request, for which it may have to load a model."""
        return await self.client.ask(url, body, limit_s=_PROBE_S)

    async def object(self, url: str) -> Mapping[str, Any]:
        """What is there; nothing where there is none."""
        answer = await self.client.get(url)
        return answer.json() if answer.status == 200 else {}

    async def knows(self, url: str, name: str) -> bool:
        """Whether what is there has a field."""
        try:
            return name in await self.object(url)
        except (MalformedError, InferloomError) as failure:
            if isinstance(failure, InferloomError) and failure.reason not in _UNREACHED:
                raise
            return False


def first_vector(answer: Mapping[str, Any]) -> list[float]:
    """The first vector of an answer to a request for embeddings. Raises MalformedError."""
    data = reading.items(answer.get("data"), "data", 2**16)
    if not data:
        raise MalformedError("no vectors")
    numbers = reading.items(reading.obj(data[0], "a vector").get("embedding"), "a vector", 2**16)
    if not numbers:
        raise MalformedError("an empty vector")
    return [reading.number(each, "a vector") for each in numbers]


def plain(value: object) -> object:
    """A text, cut, or a number; None where it is neither."""
    return value[:_MOST_NAME] if isinstance(value, str) else value if isinstance(value, int | float) else None


def short(value: object, most: int = _MOST_NAME) -> str:
    """A name as a card may have it; empty where it is none."""
    return value[:most] if isinstance(value, str) and value.isprintable() else ""
