"""Health and version."""

from typing import Any

from fastapi import APIRouter, Request, Response

import inferloom_mesh
from inferloom_gateway.http.routes.shared import ERRORS, answers, gateway_of, json_response
from inferloom_gateway.http.schema.service_answers import Health, Live, Version

router = APIRouter(tags=["health"], responses=ERRORS)


_READY: dict[int | str, dict[str, Any]] = {
    **answers(Health),
    503: {"model": Health, "description": "Not ready."},
}


@router.get("/health/live", responses=answers(Live))
async def live(request: Request) -> Response:
    """Whether the process runs, which it does if this answers, where its gRPC façade listens, and how late
    it runs what is due."""
    gateway = gateway_of(request)
    lateness = gateway.monitor.lateness
    grpc = gateway.settings.gateway_grpc_listen
    event_loop = {
        "ticks": lateness.ticks,
        "worst_ms": round(lateness.worst_s * 1e3, 1),
        "recent_ms": round(lateness.recent_s * 1e3, 1),
        "buckets": [{"upper_ms": bound, "count": count} for bound, count in lateness.buckets()],
    }
    known = {"grpc": str(grpc)} if grpc.port else {}  # a port that the system chose is not in the settings
    return json_response({"status": "live", **known, "event_loop": event_loop})


@router.get("/ping", responses=_READY)
@router.get("/health", responses=_READY)
@router.get("/health/ready", responses=_READY)
async def ready(request: Request) -> Response:
    """Whether requests can be answered: the registry's whole set was heard, and a worker holds a model.

    Names models whose workers do not all compute the same, with the workers of each kind, and says why the
    registry cannot change its set of workers, where it cannot."""
    gateway = gateway_of(request)
    if gateway.ready():
        differing = {name: sorted(kinds.values()) for name, kinds in gateway.fleet.differing.items()}
        details = {"differing_models": differing, "registry_frozen": gateway.fleet.frozen}
        return json_response({"status": "ready"} | {name: told for name, told in details.items() if told})
    return json_response({"status": "not ready"}, 503, {"retry-after": "1"})


@router.get("/version", responses=answers(Version))
async def version() -> Response:
    """The software's version."""
    return json_response({"version": inferloom_mesh.__version__})
