"""That a request can be found again, by nothing but files and its name."""

from collections.abc import Callable
from pathlib import Path

import httpx
import pytest

from tests.mesh.processes import Mesh
from tests.patience import PATIENCE_S, until


def logged(file: Path, request_id: str) -> None:
    """Wait until a file names a request."""
    until(file.read_text, f"a line of {request_id}", lambda text: request_id in text)


@pytest.mark.slow
def test_each_service_that_saw_a_request_has_logged_its_name(up: Callable[..., Mesh]) -> None:
    """The response's x-request-id is in the gateway's log and in the worker's; what was asked is not."""
    mesh = up("--model", "echo=echo")
    body = {"model": "echo", "messages": [{"role": "user", "content": "tell nobody"}], "max_tokens": 8}
    response = httpx.post(f"{mesh.base_url}/chat/completions", json=body, timeout=PATIENCE_S)
    assert response.status_code == 200
    refused = httpx.post(f"{mesh.base_url}/chat/completions", json={"model": "echo"}, timeout=PATIENCE_S)
    assert refused.status_code == 400
    logs = mesh.folder / "logs"
    answered = response.headers["x-request-id"]
    for service, request_id in (
        ("gateway", answered),
        ("worker-1", answered),
        ("gateway", refused.headers["x-request-id"]),
    ):
        logged(logs / f"{service}.log", request_id)
    assert not any("tell nobody" in file.read_text() for file in logs.iterdir())
