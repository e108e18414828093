"""What the gateway answers, asked as any client would."""

import json
from http.client import HTTPConnection, HTTPException

from inferloom_cli.mesh_report import ModelReport
from inferloom_mesh.net import Address

_TIMEOUT_S = 5.0


def reachable(address: Address) -> Address:
    """The address at which something that listens on ``address`` can be called from this machine."""
    anywhere = {"0.0.0.0": "127.0.0.1", "[::]": "[::1]"}  # noqa: S104 # compared with, not bound
    return Address(anywhere.get(address.host, address.host), address.port)


def served_models(rest: Address) -> tuple[ModelReport, ...]:
    """What ``GET /v1/models`` lists; nothing while the gateway does not answer. Blocks."""
    connection = HTTPConnection(rest.host.strip("[]"), rest.port, timeout=_TIMEOUT_S)
    try:
        connection.request("GET", "/v1/models")
        response = connection.getresponse()
        body = response.read()
        if response.status != 200:
            return ()
        return tuple(
            ModelReport(model["id"], tuple(model["capabilities"])) for model in json.loads(body)["data"]
        )
    except (OSError, HTTPException):
        return ()
    finally:
        connection.close()
