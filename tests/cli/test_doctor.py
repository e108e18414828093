"""``inferloom doctor`` finds what is wrong, and says what mends it."""

import asyncio
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from inferloom.v1 import inference_pb2, registry_pb2, worker_pb2
from inferloom_cli.client_settings import ClientSettings
from inferloom_cli.credentials import NOTHING
from inferloom_cli.doctor import asking, doctor, installation, machine, mesh
from inferloom_cli.doctor.finding import Finding, Level
from inferloom_cli.doctor.machine import GIB, MachineFacts
from inferloom_cli.doctor.mesh import PEER_MEND
from inferloom_cli.trouble import Trouble
from inferloom_gateway.settings import GatewaySettings
from inferloom_mesh.durations import duration
from inferloom_mesh.errors import InferloomError, Reason
from inferloom_mesh.net import Address, Addresses
from inferloom_mesh.tls_reading import Term
from tests.cli.fake_mesh import FakeMesh
from tests.patience import PATIENCE_S

NOBODY = Address("127.0.0.1", 1)
GOOD = MachineFacts(8, 32 * GIB, 20 * GIB, None, 65536, {Path("/cache"): 100 * GIB})
ACTIVE, SUSPECT = registry_pb2.LEASE_STATE_ACTIVE, registry_pb2.LEASE_STATE_SUSPECT
READY, DRAINING = registry_pb2.WORKER_STATE_READY, registry_pb2.WORKER_STATE_DRAINING


def faults(findings: list[Finding]) -> list[str]:
    """What is not as it should be."""
    return [each.what for each in findings if each.level in (Level.WARNING, Level.FAULT)]


def test_a_good_machine_has_nothing_to_mend() -> None:
    """One line says what it is."""
    [found] = machine.judge(GOOD)
    assert (found.level, found.what) == (Level.OK, "8 cores, 32.0 GiB of memory")


@pytest.mark.parametrize(
    ("changed", "words", "fix"),
    [
        ({"free_memory": GIB}, "1.0 GiB of memory is free", "--quantize"),
        ({"memory_limit": GIB}, "1.0 GiB of memory is free", "--quantize"),
        ({"open_files": 1024}, "1024 files open", "ulimit -n"),
        ({"disks": {Path("/cache"): None}}, "/cache cannot be written to", "INFERLOOM_CACHE_DIR"),
        ({"disks": {Path("/cache"): GIB}}, "1.0 GiB is free for /cache", "make room"),
        ({"proxy": "http_proxy"}, "http_proxy sends", "NO_PROXY"),
    ],
)
def test_what_a_machine_lacks_is_told_with_what_mends_it(
    changed: Mapping[str, object], words: str, fix: str
) -> None:
    """Each by itself."""
    values = {name: getattr(GOOD, name) for name in GOOD.__slots__}
    found = list(machine.judge(MachineFacts(**{**values, **changed})))
    [wrong] = [each for each in found if each.level in (Level.WARNING, Level.FAULT)]
    assert words in wrong.what
    assert fix in wrong.fix


def test_libraries_that_lack_or_are_old_are_told_by_their_extra() -> None:
    """An extra that somebody left out is no fault; one that is too old is."""

    def of(library: str) -> str | None:
        return {"torch": None, "fastapi": "0.1"}.get(library, installation.installed(library))

    found = list(installation.judge(of))
    assert any(each.level is Level.NOTE and "torch is not installed" in each.what for each in found)
    [old] = faults(found)
    assert "too old for gateway: fastapi 0.1" in old


def worker(name: str = "a", **fields: object) -> registry_pb2.RegisteredWorker:
    """One that has nothing wrong but ``fields``."""
    model = inference_pb2.Model(id="chat", compute_hash="1")
    made = registry_pb2.RegisteredWorker(lease_state=ACTIVE)
    made.worker.MergeFrom(registry_pb2.Worker(id=name, state=READY, version="1", models=[model]))
    for path, value in fields.items():
        place = made if path in ("lease_state", "load") else made.worker
        if path == "models":
            del made.worker.models[:]
        elif path == "load":
            made.load.MergeFrom(value)  # type: ignore[arg-type] # of the right message
        elif path == "compute_hash":
            made.worker.models[0].compute_hash = str(value)
        else:
            setattr(place, path, value)
    return made


FINE = worker_pb2.GetStatusResponse()
LATE = worker_pb2.GetStatusResponse(event_loop=worker_pb2.EventLoop(recent=duration(3.0)))
AWAY = Trouble("no worker at 10.0.0.1:7100", absent=True)
FULL = registry_pb2.Load(total_kv_tokens=100, free_kv_tokens=1, waiting=7)


@pytest.mark.parametrize(
    ("torch", "programs", "told"),
    [
        ("2.13.0+cpu", {"nvidia-smi", "gcc"}, "without CUDA"),
        ("2.13.0", {"nvidia-smi"}, "no C compiler for Triton"),
        ("2.13.0", {"nvidia-smi", "gcc"}, None),
        ("2.13.0", set(), None),
        (None, {"nvidia-smi"}, None),
    ],
)
def test_a_gpu_that_is_not_used_is_told(
    monkeypatch: pytest.MonkeyPatch, torch: str | None, programs: set[str], told: str | None
) -> None:
    """Where torch has no CUDA, and where its kernels cannot be made."""
    monkeypatch.setattr(shutil, "which", lambda name: name if name in programs else None)
    monkeypatch.setattr(installation, "installed", lambda _: torch)
    findings = list(installation.judge_gpu())
    assert len(findings) == (told is not None)
    assert all(told in finding.what and finding.fix for finding in findings if told)


@pytest.mark.parametrize(
    ("row", "status", "words"),
    [
        (worker(), AWAY, "a has a lease, and cannot be asked: no worker at 10.0.0.1:7100"),
        (worker(), LATE, "a's event loop stood still for 3.0 s"),
        (worker(lease_state=SUSPECT), FINE, "a's lease is suspect"),
        (worker(models=None), FINE, "a serves nothing"),
        (worker(load=FULL), FINE, "99% full, and 7 requests wait"),
    ],
)
def test_what_is_wrong_with_a_worker(
    row: registry_pb2.RegisteredWorker, status: worker_pb2.GetStatusResponse | Trouble, words: str
) -> None:
    """In its name."""
    listed = registry_pb2.ListWorkersResponse(workers=[row])
    [wrong] = faults(list(mesh.judge_workers(listed, {"a": status}, "1")))
    assert words in wrong


def test_an_event_loop_that_once_stood_still_is_no_fault() -> None:
    """What was weeks ago needs nothing to be done."""
    long_ago = worker_pb2.GetStatusResponse(event_loop=worker_pb2.EventLoop(worst=duration(3.0)))
    listed = registry_pb2.ListWorkersResponse(workers=[worker()])
    assert faults(list(mesh.judge_workers(listed, {"a": long_ago}, "1"))) == []


def test_workers_that_compute_differently_are_told_apart() -> None:
    """By the name under which they hide it; what is merely different is no fault."""
    rows = [worker("a"), worker("b", compute_hash="2"), worker("c", version="2", state=DRAINING)]
    listed = registry_pb2.ListWorkersResponse(workers=rows)
    found = list(mesh.judge_workers(listed, dict.fromkeys("abc", FINE), "1"))
    assert faults(found) == ["chat does not compute the same everywhere: a, c | b"]
    notes = [each.what for each in found if each.level is Level.NOTE]
    assert notes == ["c is draining and takes nothing new", "c runs version 2, this command 1"]


def test_no_workers_frozen_registries_gateways_that_are_not_ready_and_certificates() -> None:
    """The rest of what can be wrong with a mesh."""
    nobody = registry_pb2.ListWorkersResponse(frozen="no quorum")
    assert faults(list(mesh.judge_workers(nobody, {}, "1"))) == ["there are no workers"]
    registries = list(mesh.judge_registry({"r:1": nobody, "r:2": Trouble("no registry at r:2", absent=True)}))
    assert faults(registries) == [
        "r:1 has lost its store, and keeps the workers as they are: no quorum",
        "no registry at r:2",
    ]
    said = mesh.GatewaySaid(ready=False, status="not ready", late_s=2)
    assert faults(list(mesh.judge_gateway("g:1", said))) == [
        "g:1 is not ready: not ready",
        "its event loop stood still for 2.0 s",
    ]
    now = datetime.now(UTC)
    for left_days, life_days, level in (
        (2, 365, Level.WARNING),
        (99, 365, Level.OK),
        (2, 7, Level.OK),  # who renews by himself has begun to, and is not late yet
        (1, 7, Level.WARNING),
    ):
        ends = now + timedelta(days=left_days)
        [found] = mesh.judge_certificate("in x", Term(ends - timedelta(days=life_days), ends), now)
        assert found.level is level
        assert found.what.startswith("the certificate in x")


async def test_a_registry_answers_and_a_worker_that_is_away_is_named(mesh: FakeMesh) -> None:
    """Nothing that is asked ends the rest."""
    away = registry_pb2.Worker(id="a", address="127.0.0.1:1")
    mesh.registry.workers.append(registry_pb2.RegisteredWorker(worker=away))
    told = await asking.registries([mesh.address, NOBODY], NOTHING)
    listed, lost = told.values()
    assert isinstance(listed, registry_pb2.ListWorkersResponse)
    assert str(lost).startswith("no registry at 127.0.0.1:1")
    [silent] = (await asking.statuses(listed.workers, NOTHING)).values()
    assert isinstance(silent, Trouble)
    assert (silent.what, silent.absent) == ("no worker at 127.0.0.1:1", True)
    nobody = Trouble("no gateway answers at 127.0.0.1:1", absent=True)
    assert asking.gateway(NOBODY, encrypted=False) == nobody


async def found(registry: Address, *named: str) -> list[Finding]:
    """What is said of the mesh of a registry, on a machine without a gateway; ``named`` are the settings that
    somebody has set."""
    settings = ClientSettings.model_construct(set(named), registry=Addresses([registry]))
    gateway = GatewaySettings.model_construct(set(named), gateway_listen=NOBODY)
    return await asyncio.to_thread(lambda: list(doctor.of_mesh(settings, gateway, NOTHING)))


async def test_where_nobody_named_a_mesh_none_is_no_fault() -> None:
    """A note says how there would be one."""
    [only] = await found(NOBODY)
    assert (only.area, only.level) == ("mesh", Level.NOTE)


@pytest.mark.parametrize("named", ["registry", "gateway_listen"])
async def test_a_mesh_that_was_named_and_is_gone_is_a_fault(named: str) -> None:
    """Of its registry and of its gateway."""
    gone = await found(NOBODY, named)
    assert faults(gone) == ["no registry at 127.0.0.1:1", "no gateway answers at 127.0.0.1:1"]


async def test_a_registry_that_asks_for_the_secret_is_a_fault(mesh: FakeMesh) -> None:
    """Whoever looks learns what he has not set, whether or not he named it."""
    mesh.registry.failure = InferloomError(Reason.NOT_A_PEER, "Calls of the mesh's own services only.")
    registry, _ = await found(mesh.address)
    assert (registry.level, registry.fix) == (Level.FAULT, PEER_MEND)
    assert registry.what == "Calls of the mesh's own services only"


async def test_the_gateway_that_was_named_is_asked(mesh: FakeMesh) -> None:
    """As `inferloom up` says how the other commands find it, on whatever ports it is."""

    async def said(where: Address) -> Finding:
        settings = ClientSettings.model_construct({"gateway"}, gateway=where, registry=Addresses([NOBODY]))
        away = GatewaySettings.model_construct(set(), gateway_listen=NOBODY)
        found = await asyncio.to_thread(lambda: list(doctor.of_mesh(settings, away, NOTHING)))
        [told] = [each for each in found if each.area == "gateway"]
        return told

    there, gone = await said(mesh.address), await said(NOBODY)
    assert (there.level, there.what) == (Level.OK, f"{mesh.address} is ready")
    assert (gone.level, gone.what) == (Level.FAULT, f"no gateway at {NOBODY}")
    assert "--gateway" in gone.fix


def test_whoever_looks_from_elsewhere_needs_no_gateway() -> None:
    """Where the registry is on another machine, and no gateway was named, its absence is a note."""
    for absent, level in ((True, Level.NOTE), (False, Level.FAULT)):
        [told] = mesh.judge_gateway("g:1", Trouble("none", absent=absent), wanted=False)
        assert told.level is level


def test_wrong_settings_are_findings_and_not_the_end(tmp_path: Path) -> None:
    """The rest is looked at, and the command fails."""
    (tmp_path / "inferloom.toml").write_text("max_runing = 3\n")
    command = [sys.executable, "-m", "inferloom_cli", "doctor", "--json"]
    result = subprocess.run(
        command,
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=False,
        cwd=tmp_path,
        env=dict(os.environ),
    )
    found = json.loads(result.stdout)
    assert {each["area"] for each in found} == {"machine", "installation", "settings"}
    [wrong] = [each for each in found if each["area"] == "settings"]
    assert "did you mean max_running?" in wrong["what"]
    assert (wrong["level"], result.returncode, result.stderr) == ("fault", 1, "inferloom: 1 fault\n")
