"""GET /v1/models and GET /v1/models/{id}."""

from fastapi import APIRouter, Request, Response

from inferloom_gateway.http.routes.shared import gateway_of, json_response
from inferloom_gateway.http.translate import models

router = APIRouter(tags=["models"])


@router.get("/v1/models")
async def list_models(request: Request) -> Response:
    """List the models that can be called now."""
    return json_response(models.model_list(gateway_of(request).fleet.models()))


@router.get("/v1/models/{model:path}")
async def retrieve_model(request: Request, model: str) -> Response:
    """Describe one model; its id may contain slashes."""
    gateway = gateway_of(request)
    found = next((item for item in gateway.fleet.models() if item.id == model), None)
    if found is not None:
        return json_response(models.model(found))
    raise gateway.dispatcher.absent(model)
