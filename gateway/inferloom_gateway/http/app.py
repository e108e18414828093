"""The REST façade: endpoints, errors and documentation, put together."""

from typing import Any

from fastapi import FastAPI
from fastapi.middleware.cors import CORSMiddleware
from fastapi.openapi.utils import get_openapi
from pydantic.json_schema import models_json_schema
from starlette.types import ASGIApp

import inferloom_mesh
from inferloom_gateway.gateway import Gateway
from inferloom_gateway.http import errors
from inferloom_gateway.http.fast_lane import Endpoint, FastLane
from inferloom_gateway.http.parameters import IGNORED_HEADER
from inferloom_gateway.http.request_id import HEADER, RequestIdMiddleware
from inferloom_gateway.http.routes import chat, completions, embeddings, health, models, tokens
from inferloom_gateway.http.schema.chat import ChatCompletionRequest
from inferloom_gateway.http.schema.completions import CompletionRequest
from inferloom_gateway.http.schema.embeddings import EmbeddingRequest, EngineEmbeddingRequest
from inferloom_gateway.http.schema.tokens import DetokenizeRequest, TokenizeRequest

_BODIES = (
    ChatCompletionRequest,
    CompletionRequest,
    EmbeddingRequest,
    EngineEmbeddingRequest,
    TokenizeRequest,
    DetokenizeRequest,
)

_BUSIEST: dict[str, Endpoint] = {
    "/v1/chat/completions": chat.create_chat_completion,
    "/v1/completions": completions.create_completion,
    "/v1/embeddings": embeddings.create_embeddings,
}


class Facade(FastAPI):
    """FastAPI, with the bodies that the endpoints read by themselves in its documentation."""

    def openapi(self) -> dict[str, Any]:
        """The OpenAPI document, made once."""
        if self.openapi_schema is None:
            document = get_openapi(title=self.title, version=self.version, routes=self.routes)
            _, schemas = models_json_schema(
                [(body, "validation") for body in _BODIES], ref_template="#/components/schemas/{model}"
            )
            document.setdefault("components", {}).setdefault("schemas", {}).update(schemas["$defs"])
            self.openapi_schema = document
        return self.openapi_schema


def create_app(gateway: Gateway) -> ASGIApp:
    """Make the ASGI application that serves ``gateway``."""
    facade = Facade(title="Inferloom", version=inferloom_mesh.__version__)
    facade.state.gateway = gateway
    errors.install(facade)
    for part in (models, chat, completions, embeddings, tokens, health):
        facade.include_router(part.router)
    app: ASGIApp = FastLane(facade, _BUSIEST)
    if origins := gateway.settings.cors:
        app = CORSMiddleware(
            app,
            allow_origins=origins,
            allow_private_network=True,  # Chrome asks before a public page may call this machine
            allow_methods=["*"],
            allow_headers=["*"],
            expose_headers=[HEADER, IGNORED_HEADER, "retry-after"],
        )
    return RequestIdMiddleware(app)
