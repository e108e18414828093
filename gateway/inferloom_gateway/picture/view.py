"""What is shown of the mesh and of requests: for every door that shows it, and in the gateway's process."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing

from inferloom.v1 import gateway_pb2 as pb
from inferloom_gateway.picture.following import Following
from inferloom_gateway.picture.merging import together
from inferloom_gateway.picture.peers import ANSWER_S, Peers
from inferloom_gateway.picture.picture import LOOK_S, MOST_OF_ONE_NAME, Picture, facts_of
from inferloom_mesh.errors import InferloomError, Reason, invalid, overloaded, shown
from inferloom_mesh.request_id import is_request_id

MOST_LISTED = 1000

LISTED = 50
"""Requests that are listed where nobody says how many."""

MOST_WATCHES = 64
"""Watches that a process has at once; one more is refused."""

_TIMEOUT = ANSWER_S


class View:
    """What gateways know, in the messages of ``GatewayService``. Their readers must not change them.

    Args:
        picture: What this process knows.
        peers: The other processes.
    """

    def __init__(self, picture: Picture, peers: Peers) -> None:
        self._picture = picture
        self._peers = peers
        self._following = Following(peers)
        self._watches = 0
        self._merged: tuple[bytes, int, pb.Mesh] | None = None

    async def mesh(self, *, only_here: bool = False) -> pb.Mesh:
        """How the mesh looks now."""
        if only_here:
            return self._picture.mesh()
        asked, shown_to = pb.GetMeshRequest(only_here=True), self._peers.metadata
        answers, unanswered = await self._peers.ask(
            lambda stub: stub.GetMesh(asked, timeout=_TIMEOUT, metadata=shown_to)
        )
        return together([self._picture.mesh(), *(each.mesh for each in answers)], unanswered)

    async def watch(self, *, only_here: bool = False) -> AsyncGenerator[pb.Mesh, None]:
        """How it looks, at once and whenever that has changed, twice a second at most; ends when the gateway
        stops.

        Raises:
            InferloomError: SERVER_OVERLOADED: there are as many watches as a process has.
        """
        if self._watches >= MOST_WATCHES:
            raise overloaded("The gateway has as many watches as it takes.")
        self._watches += 1
        try:
            if only_here:
                async with aclosing(self._picture.watch()) as meshes:
                    async for mesh in meshes:
                        yield mesh
                return
            async with self._following.watched():
                told: pb.Mesh | None = None
                while not self._picture.stopping.is_set():
                    mesh = self._whole()
                    if mesh is not told:
                        told = mesh
                        yield mesh
                    await asyncio.sleep(LOOK_S)
        finally:
            self._watches -= 1

    def _whole(self) -> pb.Mesh:
        """All pictures as one: the same object for as long as nothing has changed, whoever watches."""
        own, revision = self._picture.mesh(), self._following.revision
        facts = facts_of(own)
        if self._merged is None or self._merged[:2] != (facts, revision):
            mesh = together([own, *self._following.meshes()], self._following.unanswered())
            self._merged = facts, revision, mesh
        return self._merged[2]

    async def list_requests(self, asked: pb.ListRequestsRequest) -> pb.ListRequestsResponse:
        """The requests that are asked for, newest first.

        Raises:
            InferloomError: ``limit`` is out of range.
        """
        most = asked.limit or LISTED
        if most > MOST_LISTED:
            raise invalid("limit", f"limit must be at most {MOST_LISTED}.")
        found = self._picture.list_requests(asked, most)
        if asked.only_here:
            return pb.ListRequestsResponse(requests=found)
        each_one, shown_to = pb.ListRequestsRequest(), self._peers.metadata
        each_one.CopyFrom(asked)
        each_one.only_here = True
        answers, unanswered = await self._peers.ask(
            lambda stub: stub.ListRequests(each_one, timeout=_TIMEOUT, metadata=shown_to)
        )
        for answer in answers:
            found.extend(answer.requests)
        return pb.ListRequestsResponse(requests=_newest_first(found)[:most], unanswered=unanswered)

    async def get_request(self, asked: pb.GetRequestRequest) -> pb.GetRequestResponse:
        """All that is known of the requests of one name, newest first.

        Raises:
            InferloomError: NOT_FOUND, with where was looked; INVALID_ARGUMENT for what is no name.
        """
        name = asked.request_id
        if not is_request_id(name):
            raise invalid("request_id", "request_id must be 1 to 128 visible ASCII characters.")
        found = self._picture.find_requests(name)
        unanswered: list[pb.Unanswered] = []
        if not asked.only_here:
            each_one = pb.GetRequestRequest(request_id=name, only_here=True)
            shown_to = self._peers.metadata
            answers, unanswered = await self._peers.ask(
                lambda stub: stub.GetRequest(each_one, timeout=_TIMEOUT, metadata=shown_to)
            )
            for answer in answers:
                found.extend(answer.records)
        if not found:
            message = f"No request is known by the name {shown(name)!r}. {self._searched(asked, unanswered)}"
            raise InferloomError(Reason.NOT_FOUND, message, param="request_id")
        return pb.GetRequestResponse(records=_newest_first(found)[:MOST_OF_ONE_NAME], unanswered=unanswered)

    def _searched(self, asked: pb.GetRequestRequest, unanswered: list[pb.Unanswered]) -> str:
        """Where was looked, for people."""
        others = [] if asked.only_here else self._peers.known()
        names = sorted({self._picture.name, *(each.name for each in others)})
        count = len(others) + 1
        where = f"Looked at {count} gateway process{'es' * (count > 1)}, of {', '.join(names[:8])}"
        where += f" and {len(names) - 8} more" * (len(names) > 8)
        told = f"{where}: each keeps what runs and the last {self._picture.remembered}."
        if unanswered:
            silent = "; ".join(f"{each.name} at {each.address}: {each.why}" for each in unanswered[:4])
            told += f" Without an answer: {silent}."
        return told


def _newest_first(records: list[pb.RequestRecord]) -> list[pb.RequestRecord]:
    return sorted(records, key=lambda each: each.arrived_at.ToNanoseconds(), reverse=True)
