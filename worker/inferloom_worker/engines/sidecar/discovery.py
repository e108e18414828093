"""What a server is and what its model can do, found by asking it."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from hashlib import blake2b
from typing import Any

import orjson

from inferloom_mesh.errors import InferloomError, Reason
from inferloom_worker.engines.sidecar import reading
from inferloom_worker.engines.sidecar.client import Answer, Client
from inferloom_worker.engines.sidecar.kinds import MANNERS, Manner, ServerKind
from inferloom_worker.engines.sidecar.sse import MalformedError

_OWNERS = {
    "vllm": ServerKind.VLLM,
    "sglang": ServerKind.SGLANG,
    "llamacpp": ServerKind.LLAMA,
}
"""Kinds by whom ``/v1/models`` says that a model is owned by."""

_UNREACHED = (Reason.WORKER_LOST, Reason.TIMEOUT)
_MOST_MODELS = 4096
_PROBE_S = 60.0
"""How long the server may take for a text of one letter."""

_MOST_NAME = 256
_MOST_SAMPLING = 2.0**31 - 1
"""Largest value that it may say that it draws with."""


class UnfitError(ValueError):
    """The server is there, and cannot be served; another try does not mend that. For people."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """What is known of a server and of one of its models."""

    kind: ServerKind
    version: str
    model: str
    """Its name there."""
    tasks: frozenset[str]
    context_length: int = 0
    """0: not told."""
    vocabulary_size: int = 0
    dimensions: int = 0
    normalizes: bool = False
    """Whether its vectors have unit length."""
    slots: int = 0
    """Requests that it runs at once; 0: not told."""
    quantization: str = ""
    architecture: str = ""
    infills: bool = False
    sampling: Mapping[str, float] = field(default_factory=dict)
    """What it draws with where a request is silent, by the contract's names, as far as it tells."""
    identity: str = ""
    """A hash of what tells its weights apart from others'; of its address too, where it tells nothing."""

    @property
    def manner(self) -> Manner:
        """How it is spoken to."""
        return MANNERS[self.kind]

    @property
    def server(self) -> str:
        """Kind and version, as a card has it."""
        return f"{self.kind.value} {self.version}".strip()


async def discover(client: Client) -> Facts:
    """Ask a server what it is.

    Raises:
        UnfitError: It refuses the key, serves no such model, or several of which none is named.
        InferloomError: It cannot be asked now.
    """
    try:
        return await _Discovery(client).facts()
    except MalformedError as failure:
        raise UnfitError(f"the server answered {failure}") from None


class _Discovery:
    def __init__(self, client: Client) -> None:
        self._client = client
        self._address = client.address

    async def facts(self) -> Facts:
        card = await self._card()
        kind = self._address.kind or await self._kind(card)
        known: dict[str, Any] = await _ASK[kind](self, card)
        told = known.pop("tells", None)
        identity = [kind.value, str(known.get("version", "")), card["id"], told or self._address.api]
        tasks = frozenset(self._address.tasks) or known.pop("tasks")
        known.pop("tasks", None)
        facts = Facts(
            kind=kind,
            model=card["id"],
            tasks=tasks,
            identity=blake2b(orjson.dumps(identity), digest_size=16).hexdigest(),
            **known,
        )
        if "embed" in tasks and not facts.dimensions:
            vector = await self._vector(card["id"])
            length = math.sqrt(sum(x * x for x in vector))
            unit = abs(length - 1) < 1e-3
            facts = replace(facts, dimensions=len(vector), normalizes=unit)
        return facts

    async def _card(self) -> Mapping[str, Any]:
        """The model's entry in the list of the server's."""
        answer = await self._client.get(f"{self._address.api}/models")
        if answer.status in (401, 403):
            raise UnfitError("the server refuses the key; name one with ?key_env=VARIABLE or ?key_file=PATH")
        if answer.status in (404, 405):
            raise UnfitError("the server has no list of models: is its address that of OpenAI's API?")
        if answer.status != 200:
            raise self._client.refusal(answer)
        cards = [
            reading.obj(each, "a model") for each in reading.items(answer.json().get("data"), "models", 10**5)
        ]
        names = [reading.text(card.get("id"), "a model's name") for card in cards[:_MOST_MODELS]]
        wanted = self._address.model
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
        for card in cards[:_MOST_MODELS]:
            if wanted in reading.items(card.get("aliases"), "aliases", _MOST_MODELS):
                return {**card, "id": wanted}
        some = ", ".join(name[:64] for name in names[:8]) or "none"
        raise UnfitError(f"the server has no model {wanted[:64]!r}; it has {some}")

    async def _kind(self, card: Mapping[str, Any]) -> ServerKind:
        owner = card.get("owned_by")
        if isinstance(owner, str) and owner in _OWNERS:
            return _OWNERS[owner]
        root = self._address.root
        if await self._known(f"{root}/props", "default_generation_settings"):
            return ServerKind.LLAMA
        if await self._known(f"{root}/get_model_info", "model_path"):
            return ServerKind.SGLANG
        if await self._known(f"{root}/api/version", "version"):
            return ServerKind.OLLAMA
        return ServerKind.OPENAI

    async def of_vllm(self, card: Mapping[str, Any]) -> dict[str, Any]:
        version = await self._object(f"{self._address.root}/version")
        paths = reading.obj((await self._object(f"{self._address.root}/openapi.json")).get("paths"), "paths")
        tasks = {
            task
            for task, path in (
                ("chat", "/v1/chat/completions"),
                ("completion", "/v1/completions"),
                ("embed", "/v1/embeddings"),
                ("rerank", "/v1/rerank"),
            )
            if path in paths
        }
        return {
            "version": _short(version.get("version")),
            "tasks": tasks or {"chat", "completion"},
            "context_length": reading.count(card.get("max_model_len"), "max_model_len"),
            "tells": _short(card.get("root"), 4096),
        }

    async def of_sglang(self, card: Mapping[str, Any]) -> dict[str, Any]:
        root = self._address.root
        info = await self._object(f"{root}/get_model_info")
        server = await self._object(f"{root}/get_server_info")
        generates = info.get("is_generation", True) is not False
        return {
            "version": _short(server.get("version")),
            "tasks": {"chat", "completion"} if generates else {"embed"},
            "context_length": reading.count(card.get("max_model_len"), "max_model_len"),
            "slots": reading.count(server.get("max_running_requests"), "max_running_requests"),
            "quantization": _short(server.get("quantization")),
            "tells": _short(info.get("model_path"), 4096),
        }

    async def of_llama(self, card: Mapping[str, Any]) -> dict[str, Any]:
        props = await self._object(f"{self._address.root}/props")
        settings = reading.obj(props.get("default_generation_settings"), "settings")
        drawn = reading.obj(settings.get("params"), "params")
        meta = reading.obj(card.get("meta"), "meta")
        names = {name: name for name in ("temperature", "top_p", "top_k", "min_p")}
        names["repetition_penalty"] = "repeat_penalty"
        tells = [_plain(meta.get(name)) for name in ("n_params", "size", "n_vocab", "n_embd", "ftype")]
        tells.append(_short(props.get("model_path"), 4096).rpartition("/")[2])
        return {
            "version": _short(props.get("build_info")),
            "tasks": await self._llama_tasks(card["id"]),
            "context_length": reading.count(settings.get("n_ctx"), "n_ctx"),
            "vocabulary_size": reading.count(meta.get("n_vocab"), "n_vocab"),
            "slots": reading.count(props.get("total_slots"), "total_slots"),
            "quantization": _short(props.get("model_ftype") or meta.get("ftype")),
            "sampling": {
                ours: min(_MOST_SAMPLING, max(0.0, reading.number(drawn[theirs], theirs)))
                for ours, theirs in names.items()
                if theirs in drawn
            },
            "tells": orjson.dumps(tells).decode(),
        }

    async def _llama_tasks(self, model: str) -> set[str]:
        """What it does not do it says at once."""
        api, tasks = self._address.api, set[str]()
        nothing = {"model": model, "prompt": "a", "max_tokens": 1}
        if (await self._try(f"{api}/completions", nothing)).status == 200:
            tasks |= {"chat", "completion"}
        if (await self._try(f"{api}/embeddings", {"model": model, "input": "a"})).status == 200:
            tasks.add("embed")
        if (await self._try(f"{api}/rerank", {"query": "a", "documents": ["a"]})).status == 200:
            tasks = {"rerank"}
        return tasks

    async def of_ollama(self, card: Mapping[str, Any]) -> dict[str, Any]:
        root, model = self._address.root, card["id"]
        version = await self._object(f"{root}/api/version")
        answer = await self._client.ask(f"{root}/api/show", {"model": model})
        shown = answer.json() if answer.status == 200 else {}
        can = reading.items(shown.get("capabilities"), "capabilities", 64)
        details = reading.obj(shown.get("details"), "details")
        told = reading.obj(shown.get("model_info"), "model_info")
        family = _short(told.get("general.architecture"))
        tasks = {"chat", "completion"} if "completion" in can or not can else set()
        return {
            "version": _short(version.get("version")),
            "tasks": tasks | ({"embed"} if "embedding" in can else set()),
            "context_length": await self._ollama_context(model),
            "quantization": _short(details.get("quantization_level")),
            "architecture": family,
            "infills": "insert" in can,
            "tells": await self._ollama_digest(model),
        }

    async def _ollama_context(self, model: str) -> int:
        """What it was loaded with, where it is."""
        running = await self._object(f"{self._address.root}/api/ps")
        for each in reading.items(running.get("models"), "models", _MOST_MODELS):
            about = reading.obj(each, "a model")
            if about.get("name") == model:
                return reading.count(about.get("context_length"), "context_length")
        return 0

    async def _ollama_digest(self, model: str) -> str:
        tags = await self._object(f"{self._address.root}/api/tags")
        for each in reading.items(tags.get("models"), "models", _MOST_MODELS):
            about = reading.obj(each, "a model")
            if about.get("name") == model:
                return _short(about.get("digest"))
        return ""

    async def of_openai(self, card: Mapping[str, Any]) -> dict[str, Any]:
        length = card.get("context_length") or card.get("max_model_len")
        known = isinstance(length, int) and not isinstance(length, bool) and 0 < length < 2**32
        return {
            "version": "",
            "tasks": {"chat", "completion"},
            "context_length": length if known else 0,
        }

    async def _vector(self, model: str) -> list[float]:
        body = {"model": model, "input": "a"}
        answer = await self._try(f"{self._address.api}/embeddings", body)
        if answer.status != 200:
            raise UnfitError("the server gives no vectors for a text")
        return first_vector(answer.json())

    async def _try(self, url: str, body: object) -> Answer:
        return await self._client.ask(url, body, limit_s=_PROBE_S)

    async def _object(self, url: str) -> Mapping[str, Any]:
        """What is there; nothing where there is none."""
        answer = await self._client.get(url)
        return answer.json() if answer.status == 200 else {}

    async def _known(self, url: str, name: str) -> bool:
        try:
            return name in await self._object(url)
        except (MalformedError, InferloomError) as failure:
            if isinstance(failure, InferloomError) and failure.reason not in _UNREACHED:
                raise
            return False


_ASK = {
    ServerKind.VLLM: _Discovery.of_vllm,
    ServerKind.SGLANG: _Discovery.of_sglang,
    ServerKind.LLAMA: _Discovery.of_llama,
    ServerKind.OLLAMA: _Discovery.of_ollama,
    ServerKind.OPENAI: _Discovery.of_openai,
}


def first_vector(answer: Mapping[str, Any]) -> list[float]:
    """The first vector of an answer to a request for embeddings. Raises MalformedError."""
    data = reading.items(answer.get("data"), "data", 2**16)
    if not data:
        raise MalformedError("no vectors")
    numbers = reading.items(reading.obj(data[0], "a vector").get("embedding"), "a vector", 2**16)
    if not numbers:
        raise MalformedError("an empty vector")
    return [reading.number(each, "a vector") for each in numbers]


def _plain(value: object) -> object:
    return value[:_MOST_NAME] if isinstance(value, str) else value if isinstance(value, int | float) else None


def _short(value: object, most: int = _MOST_NAME) -> str:
    """A name as a card may have it; empty where it is none."""
    return value[:most] if isinstance(value, str) and value.isprintable() else ""
