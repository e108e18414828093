"""GET /v1/models and GET /v1/models/{id}."""

from fastapi import APIRouter, Request, Response

from inferloom_gateway.http.routes.shared import ERRORS, answers, gateway_of, json_response
from inferloom_gateway.http.schema.answers import ModelCard, ModelList
from inferloom_gateway.http.stack import plain_path
from inferloom_gateway.http.translate import fields, models

router = APIRouter(tags=["models"], responses=ERRORS)


@router.get("/v1/models", responses=answers(ModelList))
async def list_models(request: Request) -> Response:
    """List the models that can be called now."""
    return json_response(models.model_list(gateway_of(request).fleet.models()))


@router.get("/v1/models/{model:path}", responses=answers(ModelCard))
async def retrieve_model(request: Request, model: str) -> Response:
    """Describe one model; its id may contain slashes."""
    gateway = gateway_of(request)
    served = {item.id: item for item in gateway.fleet.models()}
    found = next((item for item in served.values() if _is(item.id, model)), None)
    if found is not None:
        return json_response(models.model(found))
    raise fields.restate(gateway.dispatcher.absent(model), lambda path: path)


def _is(model_id: str, asked: str) -> bool:
    """Whether a path asks for a model; slashes too many have been taken out of the path."""
    return asked in (model_id, plain_path(f"/{model_id}")[1:])
