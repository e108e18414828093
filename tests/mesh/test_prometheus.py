"""A real Prometheus reads a real mesh: every expression of the dashboard and of the alerts gives series."""

import json
import signal
import subprocess
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml
from openai import APIStatusError, InternalServerError, OpenAI

from tests.deploy.prometheus_needed import CONFIG, DASHBOARD, RULES, alerts, measured, needs_prometheus
from tests.mesh.processes import Mesh
from tests.patience import PATIENCE_S, until
from tests.wire.certificates import Certificates, certificates
from tests.wire.ports import free_port

__all__ = ["certificates"]

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300), needs_prometheus]

SETTINGS = {
    "INFERLOOM_LEASE_TTL_S": "2",
    "INFERLOOM_OTLP_ENDPOINT": "https://127.0.0.1:9",  # where nobody listens: spans are lost
    "INFERLOOM_MAX_RUNNING": "2",
    "INFERLOOM_MAX_WAITING": "0",
    "INFERLOOM_GATEWAY_QUEUE_SIZE": "0",
}

WINDOW = "2m"
"""What rates are over here; nothing is older."""


class Prometheus:
    """One that scrapes a mesh every second, with the rules that are shipped."""

    def __init__(self, folder: Path, targets: dict[str, list[str]]) -> None:
        config = yaml.safe_load(CONFIG.read_text())
        assert {job["job_name"] for job in config["scrape_configs"]} == targets.keys()
        for job in config["scrape_configs"]:
            job["static_configs"] = [{"targets": targets[job["job_name"]]}]
        config["global"] = {"scrape_interval": "1s", "scrape_timeout": "1s", "evaluation_interval": "1s"}
        config["rule_files"] = [str(RULES)]
        (folder / "prometheus.yml").write_text(yaml.safe_dump(config))
        address = f"127.0.0.1:{free_port()}"
        self._url = f"http://{address}/api/v1"
        with (folder / "prometheus.log").open("w") as output:
            self.process = subprocess.Popen(
                [
                    "prometheus",
                    f"--config.file={folder / 'prometheus.yml'}",
                    f"--storage.tsdb.path={folder / 'data'}",
                    f"--web.listen-address={address}",
                ],
                stdout=output,
                stderr=subprocess.STDOUT,
            )

    def get(self, what: str, **parameters: str) -> Any:
        """What its API answers; None while it does not."""
        try:
            answer = httpx.get(f"{self._url}/{what}", params=parameters, timeout=PATIENCE_S)
        except httpx.TransportError:
            return None
        if answer.status_code == 503:  # it still reads its storage
            return None
        assert answer.status_code == 200, answer.text
        return answer.json()["data"]

    def query(self, expression: str) -> list[dict[str, Any]]:
        """The series that an expression gives now."""
        found: list[dict[str, Any]] = (self.get("query", query=expression) or {"result": []})["result"]
        return found


@pytest.fixture
def prometheus(tmp_path: Path) -> Iterator[Callable[..., Prometheus]]:
    """Start one for targets by their jobs."""
    started: list[Prometheus] = []

    def make(**targets: list[str]) -> Prometheus:
        jobs = {f"inferloom-{name}": addresses for name, addresses in targets.items()}
        started.append(Prometheus(tmp_path, jobs))
        return started[-1]

    yield make
    for one in started:
        one.process.terminate()
        one.process.wait(PATIENCE_S)


def refused(client: OpenAI, asked: Any) -> bool:
    """Ask for a long answer; whether there was no room for it."""
    try:
        client.chat.completions.create(**asked, max_tokens=100)
    except InternalServerError as error:
        return error.status_code == 503
    return False


def panels() -> Iterator[tuple[str, str, str]]:
    """Title, expression and legend of every target of the dashboard, as Grafana would ask."""
    for panel in json.loads(DASHBOARD.read_text())["panels"]:
        for target in panel.get("targets", ()):
            expression = target["expr"].replace("$__rate_interval", WINDOW).replace("$model", ".*")
            assert "$" not in expression
            yield panel["title"], expression, target["legendFormat"]


def test_every_expression_gives_series_of_a_real_mesh(
    up: Callable[..., Mesh], prometheus: Callable[..., Prometheus], certificates: Certificates
) -> None:
    """After a stream that moved because its worker was killed, and all else that a mesh sees; the alert that
    tells of lost workers fires, and the one of a service that is away."""
    ports = {name: free_port() for name in ("gateway", "registry", "worker")}
    listening = {
        f"INFERLOOM_{name.upper()}_METRICS_LISTEN": f"127.0.0.1:{port}" for name, port in ports.items()
    }
    mesh = up(
        *("--model", "echo=echo:delay_ms=20", "--workers", "2"),
        settings={**listening, **SETTINGS, "OTEL_EXPORTER_OTLP_CERTIFICATE": str(certificates.ca)},
    )
    at = {name: [f"127.0.0.1:{port}"] for name, port in ports.items()}
    at["worker"].append(f"127.0.0.1:{ports['worker'] + 1}")
    server = prometheus(**at)
    until(
        lambda: server.query("up"), "all are scraped", lambda seen: [s["value"][1] for s in seen] == ["1"] * 4
    )
    with OpenAI(base_url=mesh.base_url, api_key="none", max_retries=0) as client:
        asked: Any = {"model": "echo", "messages": [{"role": "user", "content": "a b c d " * 30}]}
        client.chat.completions.create(**asked, max_tokens=3)
        with pytest.raises(APIStatusError, match="504"):
            client.chat.completions.create(
                **asked, max_tokens=100, extra_headers={"x-request-timeout": "0.001"}
            )
        with ThreadPoolExecutor(12) as callers:  # of whom four find room
            results = list(callers.map(lambda _: refused(client, asked), range(12)))
        assert 0 < sum(results) < 12
        with client.chat.completions.with_streaming_response.create(
            **asked, max_tokens=100, stream=True
        ) as stream:
            name = stream.headers["x-inferloom-worker"]
            lines = stream.iter_lines()
            for _ in range(6):
                next(lines)
            victim = next(p for p in mesh.family() if p.cmdline()[3:4] == ["worker"] and name in p.cmdline())
            victim.send_signal(signal.SIGKILL)
            assert list(lines)[-2:] == ["data: [DONE]", ""]

    def missing() -> list[str]:
        return [
            expression
            for expression in [
                *(expression for _, expression, _ in panels()),
                *(measured(alert).replace("[5m]", f"[{WINDOW}]") for alert in alerts().values()),
            ]
            if not server.query(expression)
        ]

    until(missing, "what gives no series is none", lambda left: not left, 90)
    for title, expression, legend in panels():
        for series in server.query(expression):
            for label in legend.split("{{")[1:]:
                assert series["metric"].get(label.split("}}")[0]), f"{title}: {legend} of {series}"
    documented = (CONFIG.parents[2] / "docs" / "operations.md").read_text()
    for metric in server.get("label/__name__/values"):
        whole = metric.removesuffix("_bucket").removesuffix("_count").removesuffix("_sum")
        if metric.startswith(("inferloom_", "vllm:")):
            assert f"`{whole}`" in documented, f"docs/operations.md says nothing of {whole}"
    rules = server.get("rules")["groups"][0]["rules"]
    assert {rule["name"]: rule["health"] for rule in rules} == dict.fromkeys(alerts(), "ok")
    until(
        lambda: {s["metric"]["alertname"] for s in server.query('ALERTS{alertstate="firing"}')},
        "the alert of lost workers",
        lambda firing: "InferloomWorkersLost" in firing,
    )
