"""What other gateway processes know, kept while somebody looks."""

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
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


class Elsewhere:
    """Follows the picture of all processes; without it there is this process's own."""

    def __init__(self, view: View, picture: Picture) -> None:
        self._view = view
        self._picture = picture
        self._mesh: pb.Mesh | None = None
        self.requests: dict[str, dict[str, Any]] = {}
        """Rows of requests of theirs."""

    def mesh(self) -> pb.Mesh:
        """The mesh, as all processes see it."""
        return self._picture.mesh() if self._mesh is None else self._mesh

    @asynccontextmanager
    async def followed(self) -> AsyncIterator[None]:
        """Follow until the block ends."""
        tasks = [asyncio.create_task(self._follow()), asyncio.create_task(self._list())]
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            self._mesh, self.requests = None, {}

    async def _follow(self) -> None:
        try:
            async for mesh in self._view.watch():
                self._mesh = mesh
        except InferloomError as refusal:
            log.info("the console shows this process only: %s", refusal.message)
        self._mesh = None

    async def _list(self) -> None:
        while True:
            await asyncio.sleep(LISTING_S)
            if len(self.mesh().processes) < 2:
                self.requests = {}
                continue
            own = self._picture.mesh().processes[0]
            asked = pb.ListRequestsRequest(limit=2 * LISTED)
            listed = (await self._view.list_requests(asked)).requests
            others = [each for each in listed if (each.gateway, each.pid) != (own.gateway, own.pid)]
            self.requests = dict(map(row_elsewhere, others[:LISTED]))
