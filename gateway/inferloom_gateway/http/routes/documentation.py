"""GET /, /docs: what is here, on pages that need nothing from the internet."""

from html import escape
from typing import Any

import orjson
from fastapi import APIRouter, Request, Response

import inferloom_mesh
from inferloom_gateway.http.exchange import identity_of
from inferloom_gateway.http.routes.shared import gateway_of, json_response

router = APIRouter(include_in_schema=False)

_PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>Inferloom</title>
<meta name="viewport" content="width=device-width">
<style>
body {{ font: 16px/1.5 system-ui, sans-serif; max-width: 50rem; margin: 2rem auto; padding: 0 1rem }}
pre {{ background: #8881; padding: .7rem; overflow-x: auto }}
:root {{ color-scheme: light dark }}
</style></head><body>
<h1>Inferloom {version}</h1>
<p>An OpenAI-compatible API: the base URL for clients is <code>{base}v1</code>.
Every field of every body and answer is described in <a href="/openapi.json">/openapi.json</a>,
for generators of clients and for viewers such as Swagger UI.</p>
{operations}
</body></html>
"""


@router.get("/")
async def index(request: Request) -> Response:
    """Say what this is, and where to go on."""
    return json_response(
        {
            "name": "Inferloom",
            "version": inferloom_mesh.__version__,
            "models": [
                model.id
                for model in gateway_of(request).fleet.models()
                if identity_of(request.scope).may_use(model.id)
            ],
            "api": "/v1",
            "docs": "/docs",
            "openapi": "/openapi.json",
            "health": "/health",
        }
    )


@router.get("/docs")
async def docs(request: Request) -> Response:
    """List the endpoints, with an example of each."""
    paths = request.app.openapi()["paths"]
    base = str(request.base_url)
    operations = "\n".join(
        _operation(base, method.upper(), path, operation)
        for path, methods in paths.items()
        for method, operation in methods.items()
    )
    page = _PAGE.format(version=inferloom_mesh.__version__, base=escape(base), operations=operations)
    return Response(page, media_type="text/html")


def _operation(base: str, method: str, path: str, operation: dict[str, Any]) -> str:
    bodies = operation.get("requestBody", {}).get("content", {}).get("application/json", {})
    curl = f"curl {base}{path[1:]}"
    example = next(iter(bodies.get("examples", {}).values()), None)
    if example is not None:
        curl += f" -H 'content-type: application/json' -d '{orjson.dumps(example['value']).decode()}'"
    said = escape(operation.get("description", ""))
    return f"<h2><code>{method} {escape(path)}</code></h2>\n<p>{said}</p>\n<pre>{escape(curl)}</pre>"
