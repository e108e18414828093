"""The paths of the REST façade: which are served, with which methods, and which are known to be others'."""

import re
from collections.abc import Iterable, Mapping

from fastapi import APIRouter
from fastapi.routing import APIRoute

from inferloom_mesh.errors import shown

_OPENAI = (
    *("assistants", "audio", "chatkit", "containers", "conversations", "evals", "fine-tunes"),
    *("fine_tuning", "images", "moderations", "organization", "projects", "realtime", "skills"),
    *("threads", "uploads", "vector_stores", "videos"),
)
_UNSERVED = frozenset({"/v1/responses/compact"})
"""Paths of OpenAI's API that look like the name of something that is served."""
_ANTHROPIC = ("complete", "messages")
_OTHERS = frozenset((*_OPENAI, *_ANTHROPIC))
"""First steps of paths, behind /v1, that clients know from other APIs."""

_OLLAMA: Mapping[str, str] = {
    "chat": "/chat/completions",
    "generate": "/completions",
    "embed": "/embeddings",
    "embeddings": "/embeddings",
    "tags": "/models",
    "show": "/models/{id}",
}
"""What does the same as a path of Ollama's API, which is under /api."""

_ADVERTISED = 500
"""Most characters of the list of what is served."""


class Paths:
    """Knows the routes of some routers."""

    def __init__(self, routers: Iterable[APIRouter]) -> None:
        self._routes = [route for router in routers for route in router.routes if isinstance(route, APIRoute)]
        self._bare = frozenset(route.path.split("/")[2] for route in self._routes if _is_v1(route.path))

    def methods(self, path: str) -> list[str]:
        """What a path can be asked for, in order; nothing for one that is not there."""
        if path in _UNSERVED:
            return []
        fitting = [route for route in self._routes if route.path_regex.match(path)]
        exact = [route for route in fitting if route.path == path]
        found = {method for route in exact or fitting for method in route.methods or ()}
        return sorted(found | ({"HEAD"} if "GET" in found else set()))

    def missing(self, method: str, path: str) -> str:
        """What to say of a path that is not there."""
        asked = f"{shown(method)} {shown(path)}"
        steps = path.split("/")[1:]
        if steps[:2] == ["v1", "v1"]:
            return f"Not found: {asked}. The base URL of the API ends in a single /v1."
        if steps in (["v1"], ["v1", ""]):
            return f"Not found: {asked}. It is the base URL of the API: /docs lists what is under it."
        first = steps[1] if steps[0] == "v1" and len(steps) > 1 else steps[0]
        if first in self._bare and steps[0] != "v1":
            return f"Not found: {asked}. The API is under /v1: /v1{shown(path)}."
        if steps[0] == "api" and "/".join(steps[1:]) in _OLLAMA:
            return f"{asked} is of Ollama's own API. Here is OpenAI's: /v1{_OLLAMA['/'.join(steps[1:])]}."
        if path in _UNSERVED or first in _OTHERS - self._bare:
            return f"{asked} is not served here. What is: {self._served()}."
        return f"Not found: {asked}."

    def _served(self) -> str:
        """The endpoints under /v1 whose paths name nothing else, in order."""
        paths = sorted({r.path for r in self._routes if _is_v1(r.path) and not re.search("[{}]", r.path)})
        while len(", ".join(paths)) > _ADVERTISED:
            paths.pop()
        return ", ".join(paths)


def _is_v1(path: str) -> bool:
    return path.startswith("/v1/")
