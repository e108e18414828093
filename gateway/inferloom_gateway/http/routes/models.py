"""GET /v1/models, and GET and DELETE /v1/models/{id}."""

from fastapi import APIRouter, Request, Response

from inferloom_gateway.http.exchange import identity_of
from inferloom_gateway.http.routes.shared import ERRORS, answers, gateway_of, json_response
from inferloom_gateway.http.schema.answers import ErrorAnswer
from inferloom_gateway.http.schema.service_answers import ModelDetail, ModelList
from inferloom_gateway.http.stack import plain_path
from inferloom_gateway.http.translate import fields, models
from inferloom_mesh.errors import InferloomError, Reason, shown

router = APIRouter(tags=["models"], responses=ERRORS)


@router.get("/v1/models", responses=answers(ModelList))
async def list_models(request: Request) -> Response:
    """List the models that can be called now, by who asks."""
    identity = identity_of(request.scope)
    served = gateway_of(request).fleet.models()
    return json_response(models.model_list([item for item in served if identity.may_use(item.id)]))


@router.get("/v1/models/{model:path}", responses=answers(ModelDetail))
async def retrieve_model(request: Request, model: str) -> Response:
    """Describe one model, with the workers that hold it; its id may contain slashes."""
    gateway = gateway_of(request)
    served = gateway.fleet.models()
    found = next((item for item in served if _is(item.id, model)), None)
    identity_of(request.scope).check_model(model if found is None else found.id)
    if found is None:
        raise fields.restate(gateway.dispatcher.absent(model), lambda path: path)
    members = [
        each for each in gateway.fleet.members() if found.id in each.models or found.id in each.loading
    ]
    aliases = [item.id for item in served if item.alias_of == found.id]
    return json_response(models.detail(found, members, aliases))


@router.delete("/v1/models/{model:path}", status_code=403, responses={403: {"model": ErrorAnswer}})
async def delete_model(request: Request, model: str) -> Response:
    """Refused: models are unloaded by their operator, with ``inferloom unload``."""
    message = (
        f"Models are not unloaded over this API. Their operator does it: inferloom unload {shown(model)}"
    )
    raise InferloomError(Reason.PERMISSION_DENIED, message)


def _is(model_id: str, asked: str) -> bool:
    """Whether a path asks for a model; slashes too many have been taken out of the path."""
    return asked in (model_id, plain_path(f"/{model_id}")[1:])
