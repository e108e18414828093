"""Seeing what a mesh of real processes does."""

import json
from collections.abc import Callable

import httpx
import pytest

from tests.gateway.test_metrics import value
from tests.mesh.processes import Mesh, inferloom
from tests.patience import PATIENCE_S, until
from tests.wire.ports import free_port

CHAT = {"model": "echo", "messages": [{"role": "user", "content": "tell nobody"}], "max_tokens": 8}


def ask(mesh: Mesh, request_id: str, **more: object) -> httpx.Response:
    """Ask for a completion."""
    headers = {"x-request-id": request_id}
    return httpx.post(
        f"{mesh.base_url}/chat/completions", json={**CHAT, **more}, headers=headers, timeout=PATIENCE_S
    )


@pytest.mark.parametrize("form", ["text", pytest.param("json", marks=pytest.mark.slow)])
def test_a_request_is_found_in_the_logs_of_all_services(up: Callable[..., Mesh], form: str) -> None:
    """`inferloom logs --request ID` shows the gateway's line and the worker's, in either form."""
    mesh = up("--model", "echo=echo", "--log-format", form, settings={"INFERLOOM_LOG_LEVEL": "debug"})
    logs = mesh.folder / "logs"
    answered = ask(mesh, "find-me")
    assert answered.status_code == 200
    assert ask(mesh, "another").headers["x-inferloom-worker"] == "worker-1"
    until((logs / "worker-1.log").read_text, "the worker's line", lambda text: "find-me" in text)
    found = inferloom("logs", "--log-dir", str(logs), "--request", "find-me").splitlines()
    assert len(found) == 2
    if form == "json":
        lines = [json.loads(line) for line in found]
        assert {line["service"] for line in lines} == {"gateway", "worker-1"}
        assert [line["request_id"] for line in lines] == ["find-me"] * 2
        assert len({(line["prompt_tokens"], line["completion_tokens"]) for line in lines}) == 1
        for service in ("gateway", "worker-1", "registry"):
            for line in (logs / f"{service}.log").read_text().splitlines():
                assert {"time", "level", "message"} <= json.loads(line).keys()
    else:
        assert {line.split()[0] for line in found} == {"gateway", "worker-1"}
        assert "POST /v1/chat/completions 200 model=echo worker=worker-1" in "\n".join(found)
    assert not any("tell nobody" in file.read_text() for file in logs.iterdir())


GOOD = {"door": "rest", "asked": "generate", "model_name": "echo", "outcome": "ok"}


def scrape(address: str) -> bytes:
    """A service's metrics."""
    response = httpx.get(f"http://{address}/metrics", timeout=PATIENCE_S)
    assert response.status_code == 200
    return response.content


@pytest.mark.slow
def test_several_gateway_processes_are_one_in_the_metrics(up: Callable[..., Mesh]) -> None:
    """Whichever gets the scrape, on either listener; and one that is killed takes nothing along."""
    port = free_port()
    settings = {"INFERLOOM_GATEWAY_METRICS_LISTEN": f"127.0.0.1:{port}"}
    mesh = up("--model", "echo=echo", "--gateway-processes", "2", settings=settings)
    rest, own = str(mesh.made["rest"]), f"127.0.0.1:{port}"
    count = 12

    def ready() -> float | None:
        return value(scrape(own), "inferloom_workers", state="ready")

    for n in range(count):
        assert ask(mesh, f"r{n}").status_code == 200  # each on a connection of its own
    for _ in range(6):
        for address in (rest, own):
            text = scrape(address)
            assert value(text, "inferloom_requests_total", **GOOD) == count
            assert value(text, "vllm:time_to_first_token_seconds_count", model_name="echo") == count
    assert ready() == 1  # which both see
    first, _ = mesh.service("gateway").children()
    first.kill()
    first.wait()
    assert value(scrape(own), "inferloom_requests_total", **GOOD) == count
    until(lambda: mesh.service("gateway").children(), "a new process", lambda found: len(found) == 2)
    assert ready() == 1
    assert value(scrape(own), "inferloom_requests_total", **GOOD) == count
    assert ask(mesh, "after").status_code == 200
    assert value(scrape(own), "inferloom_requests_total", **GOOD) == count + 1
