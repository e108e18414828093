"""Which models a server has."""

import asyncio
from collections.abc import Sequence

import orjson

from inferloom_cli.benchmark.connection import connect
from inferloom_cli.benchmark.endpoint import Endpoint
from inferloom_cli.benchmark.load import Api


async def get(endpoint: Endpoint, path: str, timeout: float = 10.0) -> bytes:
    """The body of ``GET path``, below the base URL.

    Raises:
        OSError: Nothing answers there, or not in time.
        HttpError: The status is not 200.
        ValueError: What answers does not speak HTTP.
    """
    pieces: list[bytes] = []
    async with asyncio.timeout(timeout):
        connection = await connect(endpoint)
        try:
            await connection.exchange(endpoint.request("GET", path), lambda piece, _: pieces.append(piece))
        finally:
            connection.close()
    return b"".join(pieces)


def choose_model(listing: bytes, api: Api) -> str | None:
    """The model of ``GET /models`` that is most clearly made for ``api``: of those that can do it, as far as
    they say, the one that does the fewest other things, and the first of equals. None if there is none.

    Raises:
        ValueError: This is no list of models.
    """
    wanted = {"chat": "chat", "completions": "completion", "embeddings": "embedding"}[api]
    try:
        models: Sequence[dict[str, object]] = orjson.loads(listing)["data"]
        able: list[tuple[int, str]] = []
        for model in models:
            abilities = model.get("capabilities")
            if not isinstance(abilities, list) or wanted in abilities:
                able.append((len(abilities) if isinstance(abilities, list) else 0, str(model["id"])))
    except (KeyError, TypeError, AttributeError) as wrong:
        raise ValueError("the list of models has another form") from wrong
    return min(able, key=lambda found: found[0])[1] if able else None
