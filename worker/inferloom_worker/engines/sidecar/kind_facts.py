"""What servers of each kind tell of themselves and of a model."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import orjson

from inferloom_mesh.errors import InferloomError, Reason
from inferloom_worker.engines.sidecar import reading
from inferloom_worker.engines.sidecar.kinds import TOOLS, ServerKind
from inferloom_worker.engines.sidecar.questions import MOST_MODELS, Questions, plain, short
from inferloom_worker.text.template import ChatTemplate

PROBE = "probe"
"""A tool that a vLLM server is shown to see whether it takes any."""

_NO_PARSER = b"--tool-call-parser"
"""Its refusal names what it was started without."""

_MOST_TEMPLATE = 2**18
"""Characters of a chat template that are looked through."""

_MOST_SAMPLING = 2.0**31 - 1
"""Largest value that it may say that it draws with."""


async def _vllm(server: Questions, card: Mapping[str, Any]) -> dict[str, Any]:
    version = await server.object(f"{server.address.root}/version")
    paths = reading.obj((await server.object(f"{server.address.root}/openapi.json")).get("paths"), "paths")
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
        "version": short(version.get("version")),
        "tasks": tasks or {"chat", "completion"},
        "lacks": await _vllm_lacks(server, card["id"]) if "chat" in tasks else frozenset[str](),
        "context_length": reading.count(card.get("max_model_len"), "max_model_len"),
        "tells": short(card.get("root"), 4096),
    }


async def _vllm_lacks(server: Questions, model: str) -> frozenset[str]:
    """It refuses tools where it was started without a parser for calls, and tells that nowhere else."""
    turn = {"role": "user", "content": "a"}
    tool = {"type": "function", "function": {"name": PROBE, "parameters": {"type": "object"}}}
    body = {"model": model, "messages": [turn], "max_tokens": 1, "tools": [tool]}
    try:
        answer = await server.client.ask(f"{server.address.api}/chat/completions", body)
    except InferloomError as error:
        if error.reason is not Reason.TIMEOUT:
            raise
        return frozenset()  # it refuses at once, whoever else it answers
    # Any other refusal is not about tools.
    return frozenset(TOOLS) if answer.status == 400 and _NO_PARSER in answer.body else frozenset()


async def _sglang(server: Questions, card: Mapping[str, Any]) -> dict[str, Any]:
    root = server.address.root
    info = await server.object(f"{root}/get_model_info")
    running = await server.object(f"{root}/get_server_info")
    generates = info.get("is_generation", True) is not False
    return {
        "version": short(running.get("version")),
        "tasks": {"chat", "completion"} if generates else {"embed"},
        "context_length": reading.count(card.get("max_model_len"), "max_model_len"),
        "slots": reading.count(running.get("max_running_requests"), "max_running_requests"),
        "quantization": short(running.get("quantization")),
        "tells": short(info.get("model_path"), 4096),
    }


async def _llama(server: Questions, card: Mapping[str, Any]) -> dict[str, Any]:
    props = await server.object(f"{server.address.root}/props")
    settings = reading.obj(props.get("default_generation_settings"), "settings")
    drawn = reading.obj(settings.get("params"), "params")
    meta = reading.obj(card.get("meta"), "meta")
    names = {name: name for name in ("temperature", "top_p", "top_k", "min_p")}
    names["repetition_penalty"] = "repeat_penalty"
    tells = [plain(meta.get(name)) for name in ("n_params", "size", "n_vocab", "n_embd", "ftype")]
    tells.append(short(props.get("model_path"), 4096).rpartition("/")[2])
    return {
        "version": short(props.get("build_info")),
        "tasks": await _llama_tasks(server, card["id"]),
        "context_length": reading.count(settings.get("n_ctx"), "n_ctx"),
        "vocabulary_size": reading.count(meta.get("n_vocab"), "n_vocab"),
        "slots": reading.count(props.get("total_slots"), "total_slots"),
        "lacks": _llama_lacks(props),
        "variables": await asyncio.to_thread(_read_by, props.get("chat_template")),
        "quantization": short(props.get("model_ftype") or meta.get("ftype")),
        "sampling": {
            ours: min(_MOST_SAMPLING, max(0.0, reading.number(drawn[theirs], theirs)))
            for ours, theirs in names.items()
            if theirs in drawn
        },
        "tells": orjson.dumps(tells).decode() if any(tells) else "",
    }


def _llama_lacks(props: Mapping[str, Any]) -> frozenset[str]:
    """It takes tools whatever its model's template is, and drops those that the template has no place for."""
    can = reading.obj(props.get("chat_template_caps"), "chat_template_caps")
    return frozenset(TOOLS) if can.get("supports_tools") is False else frozenset()


def _read_by(source: object) -> frozenset[str] | None:
    """The variables that a chat template reads. None: there is none that could be understood."""
    if not isinstance(source, str) or len(source) > _MOST_TEMPLATE:
        return None
    try:
        found = ChatTemplate(source, {}).variables
    except RecursionError:
        return None
    return found or None


async def _llama_tasks(server: Questions, model: str) -> set[str]:
    """What it does not do it says at once."""
    api, tasks = server.address.api, set[str]()
    nothing = {"model": model, "prompt": "a", "max_tokens": 1}
    if (await server.attempt(f"{api}/completions", nothing)).status == 200:
        tasks |= {"chat", "completion"}
    if (await server.attempt(f"{api}/embeddings", {"model": model, "input": "a"})).status == 200:
        tasks.add("embed")
    if (await server.attempt(f"{api}/rerank", {"query": "a", "documents": ["a"]})).status == 200:
        tasks = {"rerank"}
    return tasks


async def _ollama(server: Questions, card: Mapping[str, Any]) -> dict[str, Any]:
    root, model = server.address.root, card["id"]
    version = await server.object(f"{root}/api/version")
    answer = await server.client.ask(f"{root}/api/show", {"model": model})
    shown = answer.json() if answer.status == 200 else {}
    can = reading.items(shown.get("capabilities"), "capabilities", 64)
    details = reading.obj(shown.get("details"), "details")
    told = reading.obj(shown.get("model_info"), "model_info")
    family = short(told.get("general.architecture"))
    tasks = {"chat", "completion"} if "completion" in can or not can else set()
    return {
        "version": short(version.get("version")),
        "tasks": tasks | ({"embed"} if "embedding" in can else set()),
        "context_length": await _ollama_context(server, model),
        "quantization": short(details.get("quantization_level")),
        "architecture": family,
        "infills": "insert" in can,
        "lacks": frozenset[str]() if "thinking" in can else frozenset({"reasoning_effort"}),
        "tells": await _ollama_digest(server, model),
    }


async def _ollama_context(server: Questions, model: str) -> int:
    """What it was loaded with, where it is."""
    running = await server.object(f"{server.address.root}/api/ps")
    for each in reading.items(running.get("models"), "models", MOST_MODELS):
        about = reading.obj(each, "a model")
        if about.get("name") == model:
            return reading.count(about.get("context_length"), "context_length")
    return 0


async def _ollama_digest(server: Questions, model: str) -> str:
    tags = await server.object(f"{server.address.root}/api/tags")
    for each in reading.items(tags.get("models"), "models", MOST_MODELS):
        about = reading.obj(each, "a model")
        if about.get("name") == model:
            return short(about.get("digest"))
    return ""


async def _openai(server: Questions, card: Mapping[str, Any]) -> dict[str, Any]:
    length = card.get("context_length") or card.get("max_model_len")
    known = isinstance(length, int) and not isinstance(length, bool) and 0 < length < 2**32
    return {
        "version": "",
        "tasks": {"chat", "completion"},
        "context_length": length if known else 0,
    }


TOLD: Mapping[ServerKind, Callable[[Questions, Mapping[str, Any]], Awaitable[dict[str, Any]]]] = {
    ServerKind.VLLM: _vllm,
    ServerKind.SGLANG: _sglang,
    ServerKind.LLAMA: _llama,
    ServerKind.OLLAMA: _ollama,
    ServerKind.OPENAI: _openai,
}
"""Asks a server about the model of a card: fields of Facts, ``tasks`` among them, and ``tells``, which tells
its weights apart."""
