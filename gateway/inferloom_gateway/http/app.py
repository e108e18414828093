"""The REST façade: endpoints, errors and documentation, put together."""

from collections.abc import Sequence
from typing import Any, NamedTuple

from fastapi import APIRouter, FastAPI
from fastapi.openapi.utils import get_openapi
from pydantic.json_schema import models_json_schema
from starlette.types import ASGIApp

import inferloom_mesh
from inferloom_gateway.access.standing import HEADERS as RATE_HEADERS
from inferloom_gateway.contract.service import Service
from inferloom_gateway.gateway import Gateway
from inferloom_gateway.http import errors
from inferloom_gateway.http.authentication import Authentication, Limits
from inferloom_gateway.http.clients import Clients
from inferloom_gateway.http.cors import Cors
from inferloom_gateway.http.fast_lane import FastLane, fast_routes
from inferloom_gateway.http.intake import Intake
from inferloom_gateway.http.key_scheme import keyed
from inferloom_gateway.http.naming import NOTES_HEADER, WORKER_HEADER, Naming
from inferloom_gateway.http.openapi import complete
from inferloom_gateway.http.paths import Paths
from inferloom_gateway.http.responses.desk import Desk
from inferloom_gateway.http.routes import (
    batches,
    chat,
    completions,
    documentation,
    edits,
    embeddings,
    files,
    health,
    metrics,
    models,
    ranking,
    responses,
    stored_chat,
    streams,
    tokens,
)
from inferloom_gateway.http.rpc.door import ContractDoor
from inferloom_gateway.http.rpc.grpc_web import TRAILERS
from inferloom_gateway.http.schema.chat import ChatCompletionRequest
from inferloom_gateway.http.schema.completion_answers import ChatCompletionChunk, TextCompletion
from inferloom_gateway.http.schema.completions import CompletionRequest
from inferloom_gateway.http.schema.edits import EditRequest
from inferloom_gateway.http.schema.embeddings import EmbeddingRequest, EngineEmbeddingRequest
from inferloom_gateway.http.schema.ranking import RerankRequest, ScoreRequest
from inferloom_gateway.http.schema.response_answers import ResponseEvent
from inferloom_gateway.http.schema.responses import ResponseRequest
from inferloom_gateway.http.schema.stored import BatchRequest, ChatUpdate
from inferloom_gateway.http.schema.tokens import DetokenizeRequest, TokenizeRequest
from inferloom_gateway.http.stack import Layer, Stack
from inferloom_gateway.http.unknown_fields import IGNORED_HEADER, FieldPolicy
from inferloom_gateway.streams.asking import STREAM_HEADER
from inferloom_gateway.streams.desk import StreamDesk
from inferloom_mesh import request_id
from inferloom_mesh.metrics_listener import Source

BODIES = (
    ChatCompletionRequest,
    CompletionRequest,
    EditRequest,
    EmbeddingRequest,
    EngineEmbeddingRequest,
    ResponseRequest,
    RerankRequest,
    ScoreRequest,
    TokenizeRequest,
    DetokenizeRequest,
    ChatUpdate,
    BatchRequest,
)
"""What the endpoints take."""

_STREAMED = (ChatCompletionChunk, ResponseEvent, TextCompletion)
"""What the events of streams hold."""

ROUTERS = tuple(
    part.router
    for part in (
        *(
            models,
            chat,
            stored_chat,
            completions,
            edits,
            embeddings,
            ranking,
            responses,
            streams,
            tokens,
            files,
            batches,
        ),
        *(health, metrics, documentation),
    )
)
"""All endpoints of the façade."""

_EXPOSED = (
    request_id.HEADER,
    WORKER_HEADER,
    IGNORED_HEADER,
    NOTES_HEADER,
    STREAM_HEADER,
    "retry-after",
    errors.SHOULD_RETRY,
    "traceresponse",
    *RATE_HEADERS,
    *TRAILERS,
)
"""Response headers that pages of other origins may read."""


class Facade(FastAPI):
    """FastAPI, documenting also the bodies and events that the endpoints read and make by themselves."""

    def openapi(self) -> dict[str, Any]:
        """The OpenAPI document, made once."""
        if self.openapi_schema is None:
            document = get_openapi(title=self.title, version=self.version, routes=self.routes)
            _, schemas = models_json_schema(
                [(body, "validation") for body in (*BODIES, *_STREAMED)],
                ref_template="#/components/schemas/{model}",
            )
            made = complete(document, schemas["$defs"])
            gateway = getattr(self.state, "gateway", None)
            self.openapi_schema = keyed(made) if gateway is not None and gateway.access is not None else made
        return self.openapi_schema


class Apps(NamedTuple):
    """The ways in."""

    door: ASGIApp
    """For what comes over HTTP."""
    inside: ASGIApp
    """For what this process asks itself, as somebody who has shown a key before."""


class Extra(NamedTuple):
    """What is served beside the API."""

    name: str
    """Under which its routes find ``serves`` in the application's state."""
    serves: object
    router: APIRouter


def routes() -> Facade:
    """All endpoints, for a gateway to be given to."""
    facade = Facade(
        title="Inferloom",
        version=inferloom_mesh.__version__,
        redirect_slashes=False,
        docs_url=None,  # theirs need the internet
        redoc_url=None,
    )
    for router in ROUTERS:
        facade.include_router(router)
    return facade


def create_app(
    gateway: Gateway,
    intake: Intake,
    desk: Desk,
    streams_desk: StreamDesk,
    services: Sequence[Service],
    read_metrics: Source,
    watching: Sequence[Layer] = (),
    extras: Sequence[Extra] = (),
) -> Apps:
    """Make the ASGI applications that serve ``gateway``; the caller drains both desks and closes ``intake``
    after them.

    ``services`` are served by Connect and gRPC-Web; ``read_metrics`` gives what ``/metrics`` answers;
    ``watching`` are layers that only look, such as an access log; ``extras`` are served too.
    """
    facade = routes()
    for extra in extras:
        setattr(facade.state, extra.name, extra.serves)
        facade.include_router(extra.router)
    facade.state.gateway = gateway
    facade.state.fields = FieldPolicy(strict=gateway.settings.strict)
    facade.state.intake = intake
    facade.state.responses = desk
    facade.state.streams = streams_desk
    facade.state.metrics = read_metrics
    errors.install(facade, Paths((*ROUTERS, *(extra.router for extra in extras))))
    rest = FastLane(facade, fast_routes(ROUTERS))
    door = ContractDoor(rest, services, intake, gateway.settings.max_body_bytes)
    return Apps(
        Stack(door, _layers(gateway, watching), refusal=door.refusal), Stack(rest, [Naming(), *watching])
    )


def _layers(gateway: Gateway, watching: Sequence[Layer]) -> list[Layer]:
    """What happens around every request, from the outermost to the innermost.

    Those that only look are behind the names, so that they know them; authentication and limits go behind
    CORS, because a preflight carries no key.
    """
    layers: list[Layer] = [Naming(), *watching]
    settings = gateway.settings
    if settings.trusted_proxies or settings.allow:
        who = Clients(settings.trusted_proxies, settings.proxy_header, settings.allow, gateway.security.audit)
        layers.append(who)
    if gateway.settings.cors:
        layers.append(Cors(gateway.settings.cors, _EXPOSED))
    if gateway.access is not None:
        layers += [Authentication(gateway.access, gateway.security.audit), Limits(gateway.access)]
    return layers
