"""Three machines with certificates and keys, as real processes: secrets are where they belong."""

import os
import re
import shlex
import ssl
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack
from http.client import HTTPSConnection
from pathlib import Path

import psutil
import pytest

from inferloom_cli.doctor import asking
from inferloom_cli.doctor.finding import Level
from inferloom_cli.doctor.mesh import GatewaySaid, judge_gateway
from inferloom_cli.trouble import Trouble
from inferloom_mesh.identity import PeerIdentity
from inferloom_mesh.net import Address
from inferloom_mesh.roles import Role
from inferloom_mesh.tls_reading import term_of
from tests.mesh.processes import INFERLOOM, Mesh, Running, environment
from tests.patience import PATIENCE_S, until
from tests.wire.certificates import LOCAL, Certificates
from tests.wire.ports import free_port

PAGE = Path(__file__).parents[2] / "docs/deploying.md"


def lines() -> list[list[str]]:
    """The commands of the section about several machines, on this machine's addresses."""
    [block] = re.findall(r"On several machines.*?```sh\n(.*?)```", PAGE.read_text(), re.DOTALL)
    ports = {"7000": free_port(), "7100": free_port(), "8000": free_port(), "9000": free_port()}
    for port, free in ports.items():
        block = block.replace(f":{port}", f":{free}")
    here = (
        block.replace("10.0.0.5", "127.0.0.1").replace("10.0.0.6", "127.0.0.1").replace("./chat.gguf", "echo")
    )
    return [shlex.split(line, comments=True) for line in here.splitlines() if line.strip()]


@pytest.fixture
def closing() -> Iterator[ExitStack]:
    """Ends what a test started."""
    with ExitStack() as stack:
        yield stack


@pytest.mark.slow
def test_three_machines_as_printed(tmp_path: Path, closing: ExitStack) -> None:
    """The lines run as they are; no secret is on a command line, in a log or open to others; an expired
    certificate ends a service with one line."""
    commands = lines()
    key = ""
    for command in commands:
        if command[:2] in (["inferloom", "certs"], ["inferloom", "keys"]):
            said = subprocess.run(
                [*INFERLOOM, *command[1:]], cwd=tmp_path, env=environment(), capture_output=True, text=True
            )
            assert said.returncode == 0, said.stderr
            key = key or "".join(re.findall(r"sk-il-\S+", said.stdout))
    audit = tmp_path / "audit.jsonl"
    running = []
    for command in commands:
        if command[1] in ("registry", "worker", "gateway"):
            folder = tmp_path / command[1]
            folder.mkdir()
            for name in ("mesh", "keys.db"):
                (folder / name).symlink_to(tmp_path / name)
            quiet = ("--metrics-listen", "none")
            service = Running(folder, *command[1:], *quiet, settings={"INFERLOOM_AUDIT_LOG": str(audit)})
            closing.callback(service.close)
            running.append(service)
    for service in running:
        service.report()
    [(variable, _, *ps)] = [command for command in commands if command[0].startswith("INFERLOOM_TLS=")]
    name, _, folder_of_operator = variable.partition("=")
    shown = subprocess.run(
        [*INFERLOOM, *ps],
        cwd=tmp_path,
        env={**environment(), name: folder_of_operator},
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
    )
    assert "w1" in shown.stdout, shown.stderr
    [curl] = [command for command in commands if command[0] == "curl"]
    address = next(word for word in curl if word.startswith("https://")).split("/")[2]
    host, _, port = address.partition(":")
    trusted = ssl.create_default_context(cafile=tmp_path / "mesh/ca.crt")

    def listed(shown: str) -> int:
        connection = HTTPSConnection(host, int(port), context=trusted, timeout=PATIENCE_S)
        connection.request("GET", "/v1/models", headers={"authorization": f"Bearer {shown}"})
        status = connection.getresponse().status
        connection.close()
        return status

    until(lambda: listed(key), "a list of models", lambda status: status == 200)
    assert listed(key[:-1] + ("x" if key[-1] != "x" else "y")) == 401

    secrets = [
        key,
        key[6:],
        *(line for file in tmp_path.glob("mesh/**/*.key") for line in file.read_text().split("\n")[1:2]),
    ]
    processes = [each for service in running for each in (service.process, *service.family())]
    words = "\0".join(" ".join(each.cmdline()) for each in processes)
    logs = "".join(service.output for service in running) + audit.read_text()
    for secret in secrets:
        assert secret
        assert secret not in words
        assert secret not in logs
    for private in (*tmp_path.glob("mesh/**/*"), tmp_path / "keys.db", audit):
        if private.is_file():
            assert private.stat().st_mode & 0o077 == 0, private
    assert '"reason": "INVALID_API_KEY"' in audit.read_text()

    expired = tmp_path / "expired"
    script = (
        "import sys; from datetime import timedelta; from pathlib import Path\n"
        "from inferloom_mesh.authority import Authority; from inferloom_mesh.identity import PeerIdentity\n"
        "from inferloom_mesh.roles import Role\n"
        "who = PeerIdentity(Role.WORKER, 'w')\n"
        "Authority(Path(sys.argv[1])).issue(Path(sys.argv[2]), who, (), timedelta(minutes=-1))"
    )
    subprocess.run([INFERLOOM[0], "-c", script, tmp_path / "mesh", expired], env=os.environ, check=True)
    ended = subprocess.run(
        [*INFERLOOM, "worker", "--model", "echo=echo", "--tls", str(expired), "--metrics-listen", "none"],
        cwd=tmp_path,
        env=environment(),
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
    )
    assert ended.returncode == 1
    assert re.search(rf"inferloom: {expired}/tls.crt: the certificate expired at 20\d\d-", ended.stderr)
    assert psutil.pid_exists(running[0].process.pid)


@pytest.mark.slow
def test_up_with_certificates_asks_callers_for_theirs(tmp_path: Path, closing: ExitStack) -> None:
    """It becomes ready, as it shows its own gateway one. The doctor says how that is to who has one, and to
    others what is needed."""
    made = Certificates(tmp_path / "mesh")
    folder = made.folder
    for role, name in (("registry", "registry"), ("gateway", "gateway"), ("worker", "worker-1")):
        made.authority.issue(folder / name, PeerIdentity(Role(role), name), LOCAL)
    operator = made.of("operator")
    asked = {"INFERLOOM_GATEWAY_CLIENT_CA": str(made.ca)}
    mesh = Mesh(tmp_path / "up", "--model", "echo=echo", "--certs", str(folder), settings=asked)
    closing.callback(mesh.close)
    rest = Address.parse(mesh.made["rest"])
    said = asking.gateway(rest, encrypted=True, caller=operator)
    assert isinstance(said, GatewaySaid)
    assert said.ready
    assert said.term == term_of((folder / "gateway" / "tls.crt").read_bytes())
    refused = asking.gateway(rest, encrypted=True)
    assert isinstance(refused, Trouble)
    [found] = judge_gateway(str(rest), refused)
    assert (found.level, "takes no certificate that it is shown" in found.what) == (Level.FAULT, True)
    assert "INFERLOOM_TLS" in found.fix
