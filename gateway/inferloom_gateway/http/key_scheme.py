"""What the OpenAPI document says of API keys, where they are asked for. Pure."""

from typing import Any

from inferloom_gateway.access.endpoints import OPEN

SCHEME = "apiKey"


def keyed(document: dict[str, Any]) -> dict[str, Any]:
    """The document, saying that every path but those of health needs a key."""
    schemes = document.setdefault("components", {}).setdefault("securitySchemes", {})
    schemes[SCHEME] = {"type": "http", "scheme": "bearer", "description": "An API key, `sk-il-…`."}
    document["security"] = [{SCHEME: []}]
    for path in OPEN & document["paths"].keys():
        for operation in document["paths"][path].values():
            operation["security"] = []
    return document
