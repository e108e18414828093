"""What other gateway processes know, kept while somebody looks."""

import asyncio
import logging
from collections.abc import AsyncIterator, Mapping
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from inferloom.v1 import gateway_pb2 as pb
from inferloom_gateway.console.requests import row_elsewhere
from inferloom_gateway.picture.picture import Picture
from inferloom_gateway.picture.view import View
from inferloom_mesh.errors import InferloomError

LISTED = 50
"""Requests of theirs that are shown."""

LISTING_S = 2.0
"""How often they are asked for them."""

log = logging.getLogger(__name__)


@dataclass(slots=True)
class _Seen:
    """What was seen in one block."""

    mesh: pb.Mesh | None = None
    requests: dict[str, dict[str, Any]] = field(default_factory=dict)


class Elsewhere:
    """Follows the picture of all processes; without it there is this process's own."""

    def __init__(self, view: View, picture: Picture) -> None:
        self._view = view
        self._picture = picture
        self._seen = _Seen()

    def mesh(self) -> pb.Mesh:
        """The mesh, as all processes see it."""
        return self._mesh_of(self._seen)

    @property
    def requests(self) -> Mapping[str, dict[str, Any]]:
        """Rows of requests of theirs."""
        return self._seen.requests

    @asynccontextmanager
    async def followed(self) -> AsyncIterator[None]:
        """Follow until the block ends. What it saw is its own: the next may begin before it has ended."""
        seen = self._seen = _Seen()
        tasks = [asyncio.create_task(self._follow(seen)), asyncio.create_task(self._list(seen))]
        try:
            yield
        finally:
            if self._seen is seen:
                self._seen = _Seen()
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    def _mesh_of(self, seen: _Seen) -> pb.Mesh:
        return self._picture.mesh() if seen.mesh is None else seen.mesh

    async def _follow(self, seen: _Seen) -> None:
        try:
            async with aclosing(self._view.watch()) as meshes:
                async for mesh in meshes:
                    seen.mesh = mesh
        except InferloomError as refusal:
            log.info("the console shows this process only: %s", refusal.message)
        seen.mesh = None

    async def _list(self, seen: _Seen) -> None:
        while True:
            await asyncio.sleep(LISTING_S)
            if len(self._mesh_of(seen).processes) < 2:
                seen.requests = {}
                continue
            own = self._picture.mesh().processes[0]
            asked = pb.ListRequestsRequest(limit=2 * LISTED)
            listed = (await self._view.list_requests(asked)).requests
            others = [each for each in listed if (each.gateway, each.pid) != (own.gateway, own.pid)]
            seen.requests = dict(map(row_elsewhere, others[:LISTED]))
