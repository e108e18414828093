"""nginx and Envoy, as deploy/ configures them, before a gateway that runs: nothing is held back."""

import asyncio
import itertools
import logging
import re
import ssl
import subprocess
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from pathlib import Path

import grpc
import httpx
import pytest

from inferloom.client import AsyncClient
from inferloom.v1 import inference_pb2 as pb
from inferloom.v1.inference_pb2_grpc import InferenceServiceStub
from tests.deploy.tools import tool
from tests.deploy.written import DEPLOY, KUBERNETES, built, pods
from tests.patience import PATIENCE_S
from tests.wire.certificates import Certificates
from tests.wire.echo_mesh import EchoMesh, echo_mesh
from tests.wire.ports import free_port
from tests.wire.tcp_proxy import TcpProxy

PACE_S = 0.1
"""Between two tokens."""
PRETENDED = {"x-forwarded-for": "203.0.113.9"}
WORDS = "one two three four five six seven eight nine ten eleven twelve"


@pytest.fixture
async def mesh() -> AsyncIterator[EchoMesh]:
    """A gateway behind a proxy on this machine, and a worker that takes its time."""
    behind = {"behind_proxy": True, "trusted_proxies": ("127.0.0.1/32",)}
    async with echo_mesh(f"slow=echo:delay_ms={PACE_S * 1e3:.0f}", gateway=behind) as made:
        yield made


class Proxy:
    """A proxy that runs: where it takes REST and gRPC, and whose certificate it shows."""

    def __init__(self, rest: int, grpc: int, ca: Path) -> None:
        self.rest = f"https://127.0.0.1:{rest}"
        self.grpc = f"localhost:{grpc}"
        self.ca = ca

    def client(self) -> httpx.AsyncClient:
        """A client of REST."""
        context = ssl.create_default_context(cafile=str(self.ca))
        transport = httpx.AsyncHTTPTransport(verify=context, local_address="127.0.0.2")
        return httpx.AsyncClient(
            base_url=self.rest, transport=transport, timeout=PATIENCE_S, headers=PRETENDED
        )


def _written(name: str, folder: Path, changes: dict[str, str]) -> tuple[Path, Path]:
    """The configuration with addresses of this test, and the authority behind its certificate."""
    certificates = Certificates(folder / "authority")
    door = certificates.of("gateway")
    (door / "tls.crt").rename(door / "fullchain.pem")
    (door / "tls.key").rename(door / "privkey.pem")
    text = (DEPLOY / "proxy" / name).read_text()
    for old, new in {**changes, f"/etc/{name.partition('.')[0]}/tls": str(door)}.items():
        assert old in text, old
        text = text.replace(old, new)
    written = folder / name
    written.write_text(text)
    return written, certificates.ca


@contextmanager
def _nginx(mesh: EchoMesh, folder: Path) -> Iterator[Proxy]:
    nginx, rest, grpc_port = tool("nginx", "/usr/sbin"), free_port(), free_port()
    file, ca = _written(
        "nginx.conf",
        folder,
        {
            "listen 443": f"listen 127.0.0.1:{rest}",
            "listen 9443": f"listen 127.0.0.1:{grpc_port}",
            "server 10.0.0.5:8000": f"server {mesh.rest}",
            "server 10.0.0.5:9000": f"server {mesh.grpc}",
            "        server 10.0.0.6:8000 max_fails=2 fail_timeout=5s;\n": "",
            "        server 10.0.0.6:9000 max_fails=2 fail_timeout=5s;\n": "",
            "worker_processes auto;": "worker_processes 1;",
            "http {\n": f"http {{\n    access_log off;\n    client_body_temp_path {folder};\n"
            f"    proxy_temp_path {folder}; fastcgi_temp_path {folder}; uwsgi_temp_path {folder};"
            f" scgi_temp_path {folder};\n",
        },
    )
    arguments = ("-p", str(folder), "-c", str(file), "-g", f"daemon off; pid {folder}/pid; error_log stderr;")
    with _running(nginx, *arguments, folder=folder, port=grpc_port):
        yield Proxy(rest, grpc_port, ca)


@contextmanager
def _envoy(mesh: EchoMesh, folder: Path) -> Iterator[Proxy]:
    envoy, port = tool("envoy"), free_port()
    lines = "              - endpoint: {address: {socket_address: {address: 10.0.0.6, port_value: %d}}}\n"
    file, ca = _written(
        "envoy.yaml",
        folder,
        {
            "address: 0.0.0.0, port_value: 443": f"address: 127.0.0.1, port_value: {port}",
            "address: 10.0.0.5, port_value: 8000": f"address: 127.0.0.1, port_value: {mesh.rest.port}",
            "address: 10.0.0.5, port_value: 9000": f"address: 127.0.0.1, port_value: {mesh.grpc.port}",
            lines % 8000: "",
            lines % 9000: "",
        },
    )
    arguments = ("-c", str(file), "--concurrency", "1", "--use-dynamic-base-id", "--log-level", "warn")
    with _running(envoy, *arguments, folder=folder, port=port):
        yield Proxy(port, port, ca)


@contextmanager
def _running(*command: str, folder: Path, port: int) -> Iterator[None]:
    with (folder / "said.txt").open("w") as said:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=said, stderr=said)
    try:
        yield
    finally:
        process.terminate()
        process.wait(PATIENCE_S)
    assert process.returncode == 0, (folder / "said.txt").read_text()


async def _up(proxy: Proxy) -> None:
    async with asyncio.timeout(PATIENCE_S), proxy.client() as client:
        while True:
            try:
                if (await client.get("/health/ready")).status_code == 200:
                    return
            except httpx.TransportError:
                pass
            await asyncio.sleep(0.05)  # it tells nobody that it listens


@pytest.mark.slow
@pytest.mark.parametrize("start", [_nginx, _envoy])
async def test_what_a_client_sees_through_a_proxy(
    start: Callable[[EchoMesh, Path], AbstractContextManager[Proxy]],
    mesh: EchoMesh,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Events come one by one, gRPC streams too, large bodies pass, and the gateway knows who called, whatever
    he said himself."""
    with start(mesh, tmp_path) as proxy:
        await _up(proxy)
        with caplog.at_level(logging.INFO):
            await _streams(proxy)
        await _grpc(proxy)
        await _large(proxy)
    said = [record.getMessage() for record in caplog.records if "/v1/completions" in record.getMessage()]
    callers = {match[1] for line in said if (match := re.search(r"client=([\d.]+)", line))}
    assert callers == {"127.0.0.2"}


@pytest.mark.slow
@pytest.mark.parametrize("start", [_nginx, _envoy])
async def test_a_resumable_stream_goes_on_where_a_proxy_lost_its_gateway(
    start: Callable[[EchoMesh, Path], AbstractContextManager[Proxy]], mesh: EchoMesh, tmp_path: Path
) -> None:
    """Whatever the proxy says of that: nginx says INTERNAL. No text is missing, and none comes twice."""
    async with TcpProxy(mesh.grpc) as between:
        with start(replace(mesh, grpc=between.address), tmp_path) as proxy:
            await _up(proxy)
            credentials = grpc.ssl_channel_credentials(proxy.ca.read_bytes())
            async with AsyncClient(proxy.grpc, credentials=credentials) as client:
                whole = await client.complete("slow", WORDS, max_tokens=12)
                stream = client.stream_complete("slow", WORDS, max_tokens=12, resumable_s=30)
                texts: list[str] = []
                async for text in stream:
                    texts.append(text)
                    if len(texts) in (3, 6):
                        between.cut()
    assert "".join(texts) == whole.text
    assert len(texts) > 6


async def _streams(proxy: Proxy) -> None:
    body = {"model": "slow", "prompt": WORDS, "max_tokens": 12, "stream": True}
    async with proxy.client() as client, client.stream("POST", "/v1/completions", json=body) as response:
        assert response.status_code == 200
        lines = ((time.monotonic(), line) async for line in response.aiter_lines())
        came = [at async for at, line in lines if line.startswith("data: {")]
    assert len(came) >= 8
    # Were it held back, all would come together.
    gaps = [b - a for a, b in itertools.pairwise(came)]
    assert sum(gap > PACE_S / 2 for gap in gaps) >= 6, gaps


async def _grpc(proxy: Proxy) -> None:
    credentials = grpc.ssl_channel_credentials(proxy.ca.read_bytes())
    request = pb.GenerateRequest(model="slow", text=WORDS, stopping=pb.StoppingOptions(max_tokens=12))
    async with grpc.aio.secure_channel(proxy.grpc, credentials) as channel:
        events = InferenceServiceStub(channel).Generate(request)
        came = [time.monotonic() async for event in events if event.HasField("delta")]
    assert came[-1] - came[0] > PACE_S * 4
    assert len(came) >= 6


async def _large(proxy: Proxy) -> None:
    line = b'{"custom_id": "a", "method": "POST", "url": "/v1/completions", "body": {}}\n'
    upload = {"file": ("lines.jsonl", line * 150_000)}  # 11 MB
    async with proxy.client() as client:
        made = await client.post("/v1/files", data={"purpose": "batch"}, files=upload)
    assert made.status_code == 200, made.text
    assert made.json()["bytes"] == len(line) * 150_000


async def test_paths_and_metrics_of_the_cluster(mesh: EchoMesh) -> None:
    """What probes ask for and what workers are scaled by is there."""
    tool("kubectl")
    async with asyncio.timeout(PATIENCE_S):
        while (await mesh.http.get("/health/ready")).status_code != 200:
            pass  # each look is a call that gives way to everything else
    objects = built(KUBERNETES / "overlays/one-registry")
    gateway = dict(pods(objects))["inferloom-gateway"]["spec"]["containers"][0]
    for probe in ("readinessProbe", "livenessProbe"):
        assert (await mesh.http.get(gateway[probe]["httpGet"]["path"])).status_code == 200
    query = (KUBERNETES / "components/autoscaling/scaledobject.yaml").read_text()
    named = set(re.findall(r"\((\w+:?\w+)\{", query))
    assert len(named) == 3
    there = (await mesh.http.get("/metrics")).text
    assert "inferloom_requests_waiting" in named
    assert "inferloom_requests_waiting " in there
