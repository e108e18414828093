"""GET /metrics."""

from fastapi import APIRouter, Request, Response

from inferloom_gateway.http.routes.shared import ERRORS
from inferloom_mesh.errors import InferloomError, Reason
from inferloom_mesh.metrics_listener import Source

router = APIRouter(tags=["health"], responses=ERRORS)


@router.get(
    "/metrics",
    response_class=Response,
    responses={200: {"content": {"text/plain": {"schema": {"type": "string"}}}}},
)
async def metrics(request: Request) -> Response:
    """The gateway's metrics in Prometheus' form, of all its processes."""
    source: Source = request.app.state.metrics
    try:
        body, media_type = await source(request.headers.get("accept", ""))
    except OSError as failure:
        message = "The gateway's other processes do not answer."
        raise InferloomError(Reason.SERVER_OVERLOADED, message, retry_after=1.0) from failure
    return Response(body, media_type=media_type)
