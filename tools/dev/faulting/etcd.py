"""A real etcd: members that can be killed, paused and started again with what they had."""

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import grpc

from faulting.parts import free_ports
from inferloom.etcd import etcd_pb2 as etcd
from inferloom_mesh.net import Address
from inferloom_registry.etcd.methods import RANGE

SERVER = shutil.which("etcd")


class Member:
    """One member of a cluster.

    Args:
        name: Its name.
        folder: Takes what it keeps, and its log.
        client: Where clients call it.
        peer: Where the others do.
        cluster: All members, as etcd's ``--initial-cluster``.
        tls: A file with the certificate of who signs clients', and a folder with its own. None: no TLS.
    """

    def __init__(
        self,
        name: str,
        folder: Path,
        client: Address,
        peer: Address,
        cluster: str,
        tls: tuple[Path, Path] | None = None,
    ) -> None:
        self.address = client
        scheme = "https" if tls else "http"
        self._folder = folder
        self._options = {
            "name": name,
            "data-dir": str(folder / name),
            "listen-client-urls": f"{scheme}://{client}",
            "advertise-client-urls": f"{scheme}://{client}",
            "listen-peer-urls": f"http://{peer}",
            "initial-advertise-peer-urls": f"http://{peer}",
            "initial-cluster": cluster,
            "initial-cluster-state": "new",
            "logger": "zap",
        }
        if tls is not None:
            ca, own = tls
            self._options |= {
                "client-cert-auth": "true",
                "trusted-ca-file": str(ca),
                "cert-file": str(own / "tls.crt"),
                "key-file": str(own / "tls.key"),
            }
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        """Its process."""
        assert self._process is not None
        return self._process.pid

    def start(self) -> None:
        """Start it; it may take a moment until it answers."""
        assert SERVER is not None, "etcd is not installed"
        options = [f"--{name}={value}" for name, value in self._options.items()]
        with (self._folder / f"{self._options['name']}.log").open("ab") as log:
            # Whatever is set for other programs would be read as options.
            environment = {name: value for name, value in os.environ.items() if not name.startswith("ETCD_")}
            self._process = subprocess.Popen([SERVER, *options], stdout=log, stderr=log, env=environment)

    def kill(self, number: signal.Signals = signal.SIGKILL) -> None:
        """Send it a signal, and wait for its end unless it is only paused or goes on."""
        assert self._process is not None
        self._process.send_signal(number)
        if number in (signal.SIGKILL, signal.SIGTERM):
            self._process.wait(20)
            self._process = None

    def forget(self) -> None:
        """Lose all that it keeps; it must not run."""
        shutil.rmtree(self._options["data-dir"])

    def stop(self) -> None:
        """End it, whatever it does."""
        if self._process is not None:
            self._process.kill()
            self._process.wait(20)
            self._process = None

    def answers(self, timeout: float = 1.0) -> bool:
        """Whether it answers with a quorum."""
        with grpc.insecure_channel(str(self.address)) as channel:
            call = channel.unary_unary(RANGE.path, RANGE.request.SerializeToString, RANGE.response.FromString)
            try:
                call(etcd.RangeRequest(key=b"/"), timeout=timeout)
            except grpc.RpcError:
                return False
            return True


class Cluster:
    """Members of one cluster on loopback."""

    def __init__(self, folder: Path, size: int) -> None:
        ports = free_ports(2 * size)
        peers = [Address("127.0.0.1", port) for port in ports[size:]]
        cluster = ",".join(f"m{number}=http://{peer}" for number, peer in enumerate(peers))
        self.members = [
            Member(f"m{number}", folder, Address("127.0.0.1", port), peers[number], cluster)
            for number, port in enumerate(ports[:size])
        ]

    @property
    def addresses(self) -> list[Address]:
        """The members' client addresses."""
        return [member.address for member in self.members]

    @property
    def joined(self) -> str:
        """The same as a setting."""
        return ",".join(map(str, self.addresses))

    def start(self) -> None:
        """Start all members and wait until they answer."""
        for member in self.members:
            member.start()
        self.until_answers()

    def until_answers(self, seconds: float = 30) -> None:
        """Wait until every member answers with a quorum."""
        deadline = time.monotonic() + seconds
        for member in self.members:
            while not member.answers():
                assert time.monotonic() < deadline, "etcd does not answer"
                time.sleep(0.05)  # it tells nobody when it does

    def leader(self) -> Member:
        """The member that leads."""
        for member in self.members:
            status = etcdctl(member.address, "endpoint", "status", "-w", "fields")
            facts = dict(line.split(" : ", 1) for line in status.splitlines() if " : " in line)
            if facts['"Leader"'] == facts['"MemberID"']:
                return member
        raise AssertionError("nobody leads")

    def stop(self) -> None:
        """End all members."""
        for member in self.members:
            member.stop()


def etcdctl(address: Address, *arguments: str) -> str:
    """What etcdctl says."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("ETCDCTL_")}
    environment["ETCDCTL_API"] = "3"
    scheme = "https://" if "--cacert" in arguments else ""
    command = ["etcdctl", "--endpoints", f"{scheme}{address}", *arguments]
    return subprocess.run(command, env=environment, check=True, capture_output=True, text=True).stdout


@contextmanager
def etcd_cluster(size: int = 1) -> Iterator[Cluster]:
    """A cluster until the block ends."""
    with TemporaryDirectory(prefix="etcd-") as folder:
        cluster = Cluster(Path(folder), size)
        try:
            cluster.start()
            yield cluster
        finally:
            cluster.stop()
