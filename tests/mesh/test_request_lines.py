"""That a request can be found again, by nothing but files and its name."""

from collections.abc import Callable

import httpx

from tests.mesh.processes import Mesh, until


def test_each_service_that_saw_a_request_has_logged_its_name(up: Callable[..., Mesh]) -> None:
    """The response's x-request-id is in the gateway's log and in the worker's; what was asked is not."""
    mesh = up("--model", "echo=echo")
    body = {"model": "echo", "messages": [{"role": "user", "content": "tell nobody"}], "max_tokens": 8}
    response = httpx.post(f"{mesh.base_url}/chat/completions", json=body, timeout=30)
    assert response.status_code == 200
    refused = httpx.post(f"{mesh.base_url}/chat/completions", json={"model": "echo"}, timeout=30)
    assert refused.status_code == 400
    logs = mesh.folder / "logs"
    answered = response.headers["x-request-id"]
    for service, request_id in (
        ("gateway", answered),
        ("worker-1", answered),
        ("gateway", refused.headers["x-request-id"]),
    ):
        file = logs / f"{service}.log"
        until(lambda: request_id in file.read_text(), 5, f"a line of {request_id} in {file.name}")  # noqa: B023
    assert not any("tell nobody" in file.read_text() for file in logs.iterdir())
