"""GET /v1/models and GET /v1/models/{id}."""

from fastapi import APIRouter, Request, Response

from inferloom_gateway.calls.dispatch import no_worker
from inferloom_gateway.fleet.suggestion import model_not_found
from inferloom_gateway.http.routes.shared import gateway_of, json_response
from inferloom_gateway.http.translate import fields, models

router = APIRouter(tags=["models"])


@router.get("/v1/models")
async def list_models(request: Request) -> Response:
    """List the models that can be called now."""
    return json_response(models.model_list(gateway_of(request).fleet.models()))


@router.get("/v1/models/{model:path}")
async def retrieve_model(request: Request, model: str) -> Response:
    """Describe one model; its id may contain slashes."""
    gateway = gateway_of(request)
    served = {item.id: item for item in gateway.fleet.models()}
    if model in served:
        return json_response(models.model(served[model]))
    if gateway.fleet.knows(model, gateway.clock()):
        raise no_worker(model)
    raise fields.restate(model_not_found(model, served), lambda path: path)
