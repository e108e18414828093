"""What the files in deploy/ name exists: settings, flags, ports and roles. So they cannot go stale."""

import os
import re
import runpy
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
import typer.main

from inferloom_cli.exposure import check_gateway, check_service
from inferloom_cli.known_settings import OTHER_VARIABLES, known_names
from inferloom_cli.main import app
from inferloom_gateway.peer_door import advertised, listens_at
from inferloom_gateway.settings import GatewaySettings
from inferloom_mesh.identity import PeerIdentity
from inferloom_mesh.net import Address
from inferloom_mesh.roles import Role
from inferloom_mesh.settings import ServiceSettings
from inferloom_registry.settings import RegistrySettings
from inferloom_worker.engines.vllm.options import read_query
from inferloom_worker.settings import DEFAULT_ADDRESS, DEFAULT_METRICS_ADDRESS, WorkerSettings
from tests.deploy.tools import tool
from tests.deploy.written import (
    DEPLOY,
    KUBERNETES,
    SERVICES,
    built,
    documents,
    logical_lines,
    pods,
    settings_of,
    texts,
    variables,
)

KINDS: dict[str, type[ServiceSettings]] = {
    "registry": RegistrySettings,
    "gateway": GatewaySettings,
    "worker": WorkerSettings,
}
PORTS = {
    "registry": {7000, 9101},
    "gateway": {8000, 9000, 9100, 9200},
    "worker": {DEFAULT_ADDRESS.port, DEFAULT_METRICS_ADDRESS.port, 7200},
}
LINK = 7200
"""Where gateways attach to a worker without gRPC, where it is not any port that is free."""
PEERS = 9200
"""Where gateways ask each other."""
FROM_ELSEWHERE = {
    "INFERLOOM_KEYS": "redis://:password@redis:6379/0",
    "INFERLOOM_REASONING_KEY": "0123456789abcdef",
    "INFERLOOM_WORKER_ID": "inferloom-worker-5d9c-x2x7q",
    "INFERLOOM_WORKER_ADVERTISE": "10.1.2.3",
    "INFERLOOM_GATEWAY_PEER_ADVERTISE": "10.1.2.4",
}
"""What a Secret or the pod itself gives."""
OVERLAYS = ("one-registry", "three-registries", "tls")


@pytest.fixture(autouse=True)
def _no_settings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in variables(" ".join(os.environ)):
        monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize("path", [path for path, _ in texts()], ids=lambda path: path.name)
def test_every_setting_is_one(path: Path) -> None:
    """Each INFERLOOM_… in any file is a setting of some service."""
    known = {f"INFERLOOM_{name.upper()}" for name in known_names()} | OTHER_VARIABLES
    assert variables(path.read_text()) <= known


def test_every_flag_is_one() -> None:
    """Each flag behind a command of ours, in scripts, units and comments, is one of that command."""
    commands = typer.main.get_command(app).commands  # type: ignore[attr-defined] # a group
    groups = {name for name, command in commands.items() if hasattr(command, "commands")}
    seen = 0
    for path, text in texts():
        for line in logical_lines(text):
            for name, sub, rest in re.findall(r"\binferloom ([a-z]+)(?: ([a-z]+))?(.*)", line):
                if name not in commands:
                    continue
                command = commands[name].commands[sub] if name in groups else commands[name]
                options = {option for each in command.params for option in each.opts}
                flags = set(re.findall(r"(?<![\w-])--[a-z][a-z-]*", re.split(r"inferloom |&&|;", rest)[0]))
                assert flags <= options, (path, line)
                seen += len(flags)
    assert seen >= 10


def _images() -> Iterator[tuple[str, dict[str, str]]]:
    for service in SERVICES:
        final = (DEPLOY / f"docker/{service}.Dockerfile").read_text().rpartition("\nFROM ")[2]
        [block] = re.findall(r"^ENV ((?:.*\\\n)*.*)$", final, re.M)
        yield service, dict(re.findall(r"([A-Z_]+)=(\S+)", block))


IMAGES = dict(_images())
"""The environment in each image."""


def _read(service: str, environment: Mapping[str, str], monkeypatch: pytest.MonkeyPatch) -> ServiceSettings:
    """Read settings as the command does, with what it asks of those who listen for others."""
    for name, value in environment.items():
        if name.startswith("INFERLOOM_"):
            monkeypatch.setenv(name, value)
    settings = KINDS[service]()
    if isinstance(settings, GatewaySettings):
        if not settings.insecure:
            check_gateway(settings.gateway_listen, settings.gateway_grpc_listen, settings)
    elif not settings.insecure:
        check_service([Address("0.0.0.0", 1)], encrypted=settings.encrypted)
    return settings


@pytest.mark.parametrize("service", SERVICES)
def test_images_listen_where_the_others_look(service: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """On all addresses, at the ports that they expose, which are the defaults; and they are asked there.
    Where gateways ask each other is for those to say who start several."""
    settings = _read(service, {**IMAGES[service], "INFERLOOM_INSECURE": "true"}, monkeypatch)
    listening = {
        name: value for name, value in settings if name.startswith(service) and name.endswith("_listen")
    }
    listening.pop("gateway_peer_listen", None)
    found = {value.port for value in listening.values() if value is not None}
    if isinstance(settings, WorkerSettings):
        assert settings.worker_link_port == LINK
        found.add(LINK)
    file = (DEPLOY / f"docker/{service}.Dockerfile").read_text()
    [exposed] = re.findall(r"^EXPOSE (.*)$", file, re.M)
    assert found == PORTS[service] - {PEERS} == set(map(int, exposed.split()))
    assert {value.host for value in listening.values() if value is not None} == {"0.0.0.0"}
    asked = runpy.run_path(str(DEPLOY / "docker/serving.py"), run_name="read")["PORTS"]
    assert asked[service] in PORTS[service]


@pytest.mark.parametrize("service", SERVICES)
@pytest.mark.parametrize("overlay", OVERLAYS)
def test_kubernetes_settings(overlay: str, service: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A pod's settings are good ones, it may listen with them, and it ends in the time that they take."""
    tool("kubectl")
    objects = built(KUBERNETES / "overlays" / overlay)
    pod = dict(pods(objects))[f"inferloom-{service}"]
    [container] = pod["spec"]["containers"]
    given = settings_of(objects, container)
    environment = {k: FROM_ELSEWHERE[k] if v is None else v for k, v in given.items()}
    settings = _read(service, IMAGES[service] | environment, monkeypatch)
    assert container["args"] == [service]
    ports = {port["containerPort"]: port["name"] for port in container["ports"]}
    assert set(ports) == PORTS[service]
    for probe in (container[name] for name in container if name.endswith("Probe")):
        asked = probe.get("httpGet") or probe.get("tcpSocket") or probe.get("grpc") or {}
        assert asked.get("port", 7000) in {*ports, *ports.values(), 7000}
        if command := probe.get("exec", {}).get("command"):
            assert command == ["python3", "/opt/inferloom/serving.py", service]
    needed = getattr(settings, "drain_limit_s", 0) + getattr(settings, "drain_delay_s", 0)
    assert pod["spec"]["terminationGracePeriodSeconds"] >= needed + 10
    replicas = next(
        o for o in objects if o["metadata"]["name"] == "inferloom-registry" and o["kind"] == "StatefulSet"
    )
    assert len(settings.registry) == replicas["spec"]["replicas"]
    for place, registry in enumerate(settings.registry):
        assert str(registry) == f"inferloom-registry-{place}.inferloom-registry.inferloom.svc:7000"


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_kubernetes_ports(overlay: str) -> None:
    """Services and network policies name ports that something listens on."""
    tool("kubectl")
    elsewhere = {2379, 2380, 6379, 53}
    for one in built(KUBERNETES / "overlays" / overlay):
        if one["kind"] == "Service" and "etcd" not in one["metadata"]["name"]:
            service = one["spec"]["selector"]["app.kubernetes.io/name"].removeprefix("inferloom-")
            assert {port["port"] for port in one["spec"]["ports"]} <= PORTS[service]
        if one["kind"] == "NetworkPolicy":
            rules = (*one["spec"].get("ingress", ()), *one["spec"].get("egress", ()))
            used = {port["port"] for rule in rules for port in rule["ports"]}
            assert used <= elsewhere.union(*PORTS.values())


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_kubernetes_gateways_ask_each_other(overlay: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """At one port, each by its pod's own address, and the policies let them."""
    tool("kubectl")
    objects = built(KUBERNETES / "overlays" / overlay)
    [container] = dict(pods(objects))["inferloom-gateway"]["spec"]["containers"]
    given = settings_of(objects, container)
    environment = {k: FROM_ELSEWHERE[k] if v is None else v for k, v in given.items()}
    settings = _read("gateway", IMAGES["gateway"] | environment, monkeypatch)
    assert isinstance(settings, GatewaySettings)
    bound = listens_at(settings)
    assert bound == Address("0.0.0.0", PEERS)
    assert advertised(settings, bound) == Address("10.1.2.4", PEERS)
    [told] = [one for one in container["env"] if one["name"] == "INFERLOOM_GATEWAY_PEER_ADVERTISE"]
    assert told["valueFrom"] == {"fieldRef": {"fieldPath": "status.podIP"}}
    [policy] = [
        one["spec"]
        for one in objects
        if one["kind"] == "NetworkPolicy" and one["metadata"]["name"] == "inferloom-gateway"
    ]
    gateways = {"podSelector": {"matchLabels": {"app.kubernetes.io/name": "inferloom-gateway"}}}
    for way, end in (("ingress", "from"), ("egress", "to")):
        [ports] = [rule["ports"] for rule in policy[way] if rule[end] == [gateways]]
        assert ports == [{"port": PEERS}]


def test_kubernetes_certificates() -> None:
    """A certificate says the role of its part, as its peers look for it; a worker's has its own name."""
    tool("kubectl")
    objects = built(KUBERNETES / "overlays/tls")
    found = {}
    for one in objects:
        if one["kind"] == "Certificate" and not one["spec"].get("isCA"):
            [uri] = one["spec"]["uris"]
            found[one["spec"]["secretName"]] = uri, one["spec"]["dnsNames"], set(one["spec"]["usages"])
    worker = dict(pods(objects))["inferloom-worker"]["spec"]
    [csi] = [volume["csi"] for volume in worker["volumes"] if "csi" in volume]
    told = {name.partition("/")[2]: value for name, value in csi["volumeAttributes"].items()}
    found["csi"] = told["uri-sans"], told["dns-names"].split(","), set(told["key-usages"].split(","))
    roles = set()
    for uri, names, usages in found.values():
        identity = PeerIdentity.parse(uri.replace("${POD_NAME}", FROM_ELSEWHERE["INFERLOOM_WORKER_ID"]))
        assert identity is not None
        assert identity.role.server_name in names
        assert "client auth" in usages
        assert identity.role is Role.OPERATOR or "server auth" in usages
        roles.add(identity.role)
    assert roles == set(Role)
    [container] = worker["containers"]
    name = next(each for each in container["env"] if each["name"] == "INFERLOOM_WORKER_ID")
    assert name["valueFrom"]["fieldRef"]["fieldPath"] == "metadata.name"
    for service in ("registry", "gateway"):
        [volume] = [
            v
            for v in dict(pods(objects))[f"inferloom-{service}"]["spec"]["volumes"]
            if v["name"] == "secrets"
        ]
        assert found[volume["secret"]["secretName"]][0].startswith(f"inferloom://role/{service}/")


@pytest.mark.parametrize("service", SERVICES)
@pytest.mark.parametrize("more", [None, "compose.keys.yaml"])
def test_compose_settings(service: str, more: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    """A container's settings are good ones, and it is given the time that they take to end."""
    [compose] = documents(DEPLOY / "compose.yaml")
    part = compose["services"][service]
    environment = dict(part["environment"])
    if more is not None:
        environment |= documents(DEPLOY / more)[0]["services"][service]["environment"]
    settings = _read(service, IMAGES[service] | environment, monkeypatch)
    assert part["build"]["dockerfile"] == f"deploy/docker/{service}.Dockerfile"
    if (limit := getattr(settings, "drain_limit_s", None)) is not None:
        assert int(part["stop_grace_period"].removesuffix("s")) >= limit + 10
    for port in part.get("ports", ()):
        assert int(port.rpartition(":")[2]) in PORTS[service]
    assert settings.registry == ((Address("registry", 7000)),)
    if isinstance(settings, GatewaySettings):
        assert listens_at(settings) == Address("0.0.0.0", PEERS)


def test_prometheus_finds_every_service() -> None:
    """By the names and the metrics ports of compose.yaml."""
    [config] = documents(DEPLOY / "prometheus.yml")
    asked = {
        found["names"][0]: found["port"]
        for job in config["scrape_configs"]
        for found in job["dns_sd_configs"]
    }
    assert set(asked) == set(SERVICES)
    assert all(port in PORTS[service] for service, port in asked.items())


@pytest.mark.parametrize("service", SERVICES)
def test_systemd_settings(service: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the examples and the drop-in for TLS a unit's service has good settings, and time to end."""
    unit = next((DEPLOY / "systemd").glob(f"inferloom-{service}*.service"))
    lines = (unit.read_text() + (unit.with_name(f"{unit.name}.d") / "tls.conf").read_text()).splitlines()
    said = [line.partition("=")[2] for line in lines if line.startswith("Environment=")]
    environment = dict(line.partition("=")[::2] for line in said)
    assert environment.pop("INFERLOOM_CONFIG").endswith("/inferloom.toml")
    if service == "worker":
        text = (DEPLOY / "systemd/worker-w1.env").read_text()
        environment |= dict(re.findall(r"^(INFERLOOM_\w+)=(.*)$", text, re.M))
    monkeypatch.setenv("INFERLOOM_CONFIG", str(DEPLOY / "systemd/inferloom.toml"))
    settings = _read(service, environment, monkeypatch)
    assert settings.log_format == "json"
    _check_written(settings, lines)
    if isinstance(settings, GatewaySettings):
        assert listens_at(settings) == Address(settings.gateway_grpc_listen.host, PEERS)
    [stop] = [int(line.partition("=")[2]) for line in lines if line.startswith("TimeoutStopSec=")]
    assert stop >= getattr(settings, "drain_limit_s", 0) + getattr(settings, "drain_delay_s", 0) + 10


def _check_written(settings: ServiceSettings, lines: Sequence[str]) -> None:
    """All that a service writes is in a folder that its unit makes for it: the rest it can only read."""
    folders = [
        Path(root, line.partition("=")[2])
        for line in lines
        for key, root in (("StateDirectory=", "/var/lib"), ("CacheDirectory=", "/var/cache"))
        if line.startswith(key)
    ]
    assert settings.audit_log is not None
    written = [getattr(settings, name, None) for name in ("audit_log", "store", "keys", "cache_dir")]
    for path in filter(None, written):
        assert any(folder in Path(path).parents for folder in folders) or Path(path) in folders, path


def test_systemd_services_share_no_folder() -> None:
    """Each has a user of its own, who owns it."""
    units = (DEPLOY / "systemd").glob("*.service")
    kept = [re.findall(r"^StateDirectory=(.*)$", unit.read_text(), re.M) for unit in units]
    assert sorted(map(len, kept)) == [1, 1, 1]
    assert len({name for [name] in kept}) == 3


@pytest.mark.parametrize("name", ["ray/raycluster.yaml", "ray/head.sh"])
def test_models_over_machines(name: str) -> None:
    """What a worker is told to serve over Ray is a spec of vLLM's engine."""
    [flag] = set(re.findall(r'"(chat=vllm:[^"]+)"', (DEPLOY / name).read_text()))
    (_, spec), *others = WorkerSettings(models=flag).models
    assert not others
    engine, _, rest = spec.partition(":")
    query = read_query(rest.partition("?")[2])
    assert engine == "vllm"
    sizes = {"tensor_parallel_size", "pipeline_parallel_size"}
    assert set(query.given) == sizes | {"distributed_executor_backend"}


def test_the_settings_file_names_settings() -> None:
    """Each of its names is one of some service."""
    assert set(tomllib.loads((DEPLOY / "systemd/inferloom.toml").read_text())) <= known_names()


def test_proxies_wait_longer_than_the_gateway() -> None:
    """A whole answer is silent for up to worker_timeout_s; uploads are as large as a gateway takes."""
    defaults: Any = GatewaySettings.model_fields
    limit = defaults["worker_timeout_s"].default
    nginx, envoy = ((DEPLOY / "proxy" / name).read_text() for name in ("nginx.conf", "envoy.yaml"))
    silent = re.findall(r"(?:proxy|grpc)_read_timeout (\d+)s", nginx) + re.findall(
        r"stream_idle_timeout: (\d+)s", envoy
    )
    assert len(silent) == 3
    assert all(int(seconds) > limit for seconds in silent)
    [body] = re.findall(r"client_max_body_size (\d+)m;", nginx)
    assert int(body) * 2**20 >= defaults["max_upload_bytes"].default


def test_no_budget_counts_pods_of_ray() -> None:
    """Kubernetes cannot tell how many there should be, and would let no other pod of the budget go."""
    (cluster, *_) = documents(DEPLOY / "ray/raycluster.yaml")
    budgets = [
        one["spec"]["selector"]
        for one in documents(KUBERNETES / "base/worker.yaml")
        if one["kind"] == "PodDisruptionBudget"
    ]
    assert budgets
    for name, pod in pods([cluster]):
        labels = pod["metadata"]["labels"] | {"ray.io/cluster": cluster["metadata"]["name"]}
        for selector in budgets:
            selected = selector.get("matchLabels", {}).items() <= labels.items() and all(
                (rule["key"] not in labels) is (rule["operator"] == "DoesNotExist")
                for rule in selector.get("matchExpressions", ())
            )
            assert not selected, name


def test_rays_pods_have_probes_of_their_own() -> None:
    """KubeRay gives those that are missing, which ask a program and an agent that the image has not."""
    (cluster, *_) = documents(DEPLOY / "ray/raycluster.yaml")
    for name, pod in pods([cluster]):
        for container in pod["spec"]["containers"]:
            ports = {port["name"]: port["containerPort"] for port in container["ports"]}
            for kind in ("startupProbe", "readinessProbe", "livenessProbe"):
                asked = container[kind].get("grpc") or container[kind]["tcpSocket"]
                assert asked["port"] in {*ports, *ports.values()}, (name, kind)
    [group] = cluster["spec"]["workerGroupSpecs"]
    [container] = group["template"]["spec"]["containers"]
    [port] = container["ports"]
    assert group["rayStartParams"]["node-manager-port"] == str(port["containerPort"])
