"""What a server is and what its model can do, found by asking it."""

import math
from collections.abc import Mapping
from dataclasses import replace
from hashlib import blake2b
from typing import Any

import orjson

from inferloom_worker.engines.sidecar import reading
from inferloom_worker.engines.sidecar.client import Client
from inferloom_worker.engines.sidecar.facts import Facts, NotNowError, UnfitError
from inferloom_worker.engines.sidecar.kind_facts import TOLD
from inferloom_worker.engines.sidecar.kinds import ServerKind
from inferloom_worker.engines.sidecar.questions import MOST_MODELS, Questions
from inferloom_worker.engines.sidecar.sse import MalformedError

_OWNERS = {
    "vllm": ServerKind.VLLM,
    "sglang": ServerKind.SGLANG,
    "llamacpp": ServerKind.LLAMA,
}
"""Kinds by whom ``/v1/models`` says that a model is owned by."""


async def discover(client: Client) -> Facts:
    """Ask a server what it is.

    Raises:
        UnfitError: It refuses the key, serves no such model, or several of which none is named.
        NotNowError: It says that it cannot be asked now.
        InferloomError: It cannot be asked now.
    """
    try:
        return await _Discovery(client).facts()
    except MalformedError as failure:
        raise UnfitError(f"the server answered {failure}") from None


async def check_listed(client: Client, model: str) -> None:
    """Ask a server whether it takes the key and has a model by that name. Raises as :func:`discover`."""
    try:
        await _Discovery(client).card(model)
    except NotNowError as failure:
        if not failure.by_us:
            raise
    except MalformedError as failure:
        raise UnfitError(f"the server answered {failure}") from None


class _Discovery:
    def __init__(self, client: Client) -> None:
        self._server = Questions(client)
        self._address = client.address

    async def facts(self) -> Facts:
        card = await self.card(self._address.model)
        kind = self._address.kind or await self._kind(card)
        known: dict[str, Any] = await TOLD[kind](self._server, card)
        told = known.pop("tells", None)
        tasks = frozenset(self._address.tasks) or known["tasks"]
        if not tasks:
            raise UnfitError("the server's model neither generates text nor gives vectors or scores")
        del known["tasks"]
        # A name is chosen by who starts the server, so that it tells something only where nothing else does.
        weights = [kind.value, told or card["id"]]
        computed = [*weights, str(known.get("version", "")), "" if told else self._address.api]
        facts = Facts(
            kind=kind,
            model=card["id"],
            tasks=tasks,
            weights=_hash(weights),
            identity=_hash(computed),
            **known,
        )
        if "embed" in tasks and not facts.dimensions:
            vector = await self._server.vector(card["id"])
            length = math.sqrt(sum(x * x for x in vector))
            unit = abs(length - 1) < 1e-3
            facts = replace(facts, dimensions=len(vector), normalizes=unit)
        return facts

    async def card(self, wanted: str | None) -> Mapping[str, Any]:
        """The model's entry in the list of the server's. None: that of the only one."""
        answer = await self._server.client.get(f"{self._address.api}/models")
        if answer.status in (401, 403):
            raise UnfitError("the server refuses the key; name one with ?key_env=VARIABLE or ?key_file=PATH")
        if answer.status in (404, 405):
            raise UnfitError("the server has no list of models: is its address that of OpenAI's API?")
        if answer.status != 200:
            refusal = self._server.client.refusal(answer)
            raise NotNowError(refusal.message, by_us=answer.status < 500)
        cards = [
            reading.obj(each, "a model") for each in reading.items(answer.json().get("data"), "models", 10**5)
        ]
        names = [reading.text(card.get("id"), "a model's name") for card in cards[:MOST_MODELS]]
        if wanted is None:
            if len(names) != 1:
                some = ", ".join(name[:64] for name in names[:8]) or "none"
                raise UnfitError(f"the server has {len(names)} models ({some}); name one with ?model=NAME")
            wanted = names[0]
        for card, name in zip(cards, names, strict=False):
            if name == wanted or (
                wanted + ":latest" == name and self._address.kind in (None, ServerKind.OLLAMA)
            ):
                return {**card, "id": name}
        for card in cards[:MOST_MODELS]:
            if wanted in reading.items(card.get("aliases"), "aliases", MOST_MODELS):
                return {**card, "id": wanted}
        some = ", ".join(name[:64] for name in names[:8]) or "none"
        raise UnfitError(f"the server has no model {wanted[:64]!r}; it has {some}")

    async def _kind(self, card: Mapping[str, Any]) -> ServerKind:
        owner = card.get("owned_by")
        if isinstance(owner, str) and owner in _OWNERS:
            return _OWNERS[owner]
        root = self._address.root
        if await self._server.knows(f"{root}/props", "default_generation_settings"):
            return ServerKind.LLAMA
        if await self._server.knows(f"{root}/get_model_info", "model_path"):
            return ServerKind.SGLANG
        if await self._server.knows(f"{root}/api/version", "version"):
            return ServerKind.OLLAMA
        return ServerKind.OPENAI


def _hash(parts: list[str]) -> str:
    return blake2b(orjson.dumps(parts), digest_size=16).hexdigest()
