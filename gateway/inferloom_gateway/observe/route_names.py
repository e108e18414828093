"""The endpoint that a path belongs to, in a form that does not grow with what callers name."""

import re
from functools import lru_cache

from fastapi.routing import APIRoute

from inferloom_gateway.http.app import ROUTERS

_CONVERTER = re.compile(r":\w+\}")

LONGEST = 256
"""Characters of a path whose endpoint is kept: callers write paths."""


class RouteNames:
    """Finds ``/v1/files/{file_id}`` for ``/v1/files/file-1``, and nothing for what is no endpoint."""

    def __init__(self) -> None:
        routes = [route for router in ROUTERS for route in router.routes if isinstance(route, APIRoute)]
        self._plain = frozenset(route.path for route in routes if "{" not in route.path)
        self._others = [
            (route.path_regex, _CONVERTER.sub("}", route.path)) for route in routes if "{" in route.path
        ]
        self._found = lru_cache(1024)(self._find)

    def of(self, path: str) -> str:
        """The endpoint's path; empty if there is none."""
        if path in self._plain:
            return path
        return self._found(path) if len(path) <= LONGEST else self._find(path)

    def _find(self, path: str) -> str:
        return next((name for pattern, name in self._others if pattern.match(path)), "")
