"""What is shown of the mesh and of requests: for every door that shows it, and in the gateway's process."""

from collections.abc import AsyncIterator

from inferloom.v1 import gateway_pb2 as pb
from inferloom_gateway.picture.picture import Picture
from inferloom_mesh.errors import InferloomError, Reason, invalid, shown
from inferloom_mesh.request_id import is_request_id

MOST_LISTED = 1000


class View:
    """What gateways know, in the messages of ``GatewayService``. Their readers must not change them.

    Args:
        picture: What this process knows.
    """

    def __init__(self, picture: Picture) -> None:
        self._picture = picture

    async def mesh(self, *, only_here: bool = False) -> pb.Mesh:
        """How the mesh looks now."""
        return self._picture.mesh()

    def watch(self, *, only_here: bool = False) -> AsyncIterator[pb.Mesh]:
        """How it looks, at once and whenever that has changed, twice a second at most; ends when the gateway
        stops."""
        return self._picture.watch()

    async def list_requests(self, asked: pb.ListRequestsRequest) -> pb.ListRequestsResponse:
        """The requests that are asked for, newest first.

        Raises:
            InferloomError: ``limit`` is out of range.
        """
        if asked.limit > MOST_LISTED:
            raise invalid("limit", f"limit must be at most {MOST_LISTED}.")
        return pb.ListRequestsResponse(requests=self._picture.list_requests(asked))

    async def get_request(self, asked: pb.GetRequestRequest) -> pb.GetRequestResponse:
        """All that is known of the requests of one name, newest first.

        Raises:
            InferloomError: NOT_FOUND, with where was looked; INVALID_ARGUMENT for what is no name.
        """
        name = asked.request_id
        if not is_request_id(name):
            raise invalid("request_id", "request_id must be 1 to 128 visible ASCII characters.")
        found = self._picture.find_requests(name)
        if not found:
            message = f"No request is known by the name {shown(name)!r}: {self._picture.searched()}."
            raise InferloomError(Reason.NOT_FOUND, message, param="request_id")
        return pb.GetRequestResponse(records=found)
