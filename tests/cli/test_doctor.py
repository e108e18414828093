"""``inferloom doctor`` finds what is wrong, and says what mends it."""

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
from inferloom_cli.doctor import asking, installation, machine, mesh
from inferloom_cli.doctor.finding import Finding, Level
from inferloom_cli.doctor.machine import GIB, MachineFacts
from inferloom_mesh.durations import duration
from inferloom_mesh.net import Address
from tests.cli.fake_mesh import FakeMesh
from tests.patience import PATIENCE_S

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
LATE = worker_pb2.GetStatusResponse(event_loop=worker_pb2.EventLoop(worst=duration(3.0)))
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
        (worker(), "does not answer at 10.0.0.1:7100", "a has a lease, and does not answer at 10.0.0.1:7100"),
        (worker(), LATE, "a's event loop stood still for 3.0 s"),
        (worker(lease_state=SUSPECT), FINE, "a's lease is suspect"),
        (worker(models=None), FINE, "a serves nothing"),
        (worker(load=FULL), FINE, "99% full, and 7 requests wait"),
    ],
)
def test_what_is_wrong_with_a_worker(
    row: registry_pb2.RegisteredWorker, status: worker_pb2.GetStatusResponse | str, words: str
) -> None:
    """In its name."""
    listed = registry_pb2.ListWorkersResponse(workers=[row])
    [wrong] = faults(list(mesh.judge_workers(listed, {"a": status}, "1")))
    assert words in wrong


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
    registries = list(mesh.judge_registry({"r:1": nobody, "r:2": "no registry at r:2"}))
    assert faults(registries) == [
        "r:1 has lost its store, and keeps the workers as they are: no quorum",
        "no registry at r:2",
    ]
    [closed] = mesh.judge_registry({"r:1": f"This service is the mesh's. Set {mesh.SETTING} to its secret."})
    assert closed.fix == mesh.SECRET_MEND
    said = mesh.GatewaySaid(ready=False, status="not ready", late_s=2)
    assert faults(list(mesh.judge_gateway("g:1", said))) == [
        "g:1 is not ready: not ready",
        "its event loop stood still for 2.0 s",
    ]
    now = datetime.now(UTC)
    soon, [good] = (
        mesh.judge_certificate("x", now + timedelta(days=2), now),
        list(mesh.judge_certificate("x", now + timedelta(days=99), now)),
    )
    assert "ends on" in faults(list(soon))[0]
    assert good.level is Level.OK


async def test_a_registry_answers_and_a_worker_that_is_away_is_named(mesh: FakeMesh) -> None:
    """Nothing that is asked ends the rest."""
    away = registry_pb2.Worker(id="a", address="127.0.0.1:1")
    mesh.registry.workers.append(registry_pb2.RegisteredWorker(worker=away))
    from inferloom_cli.credentials import NOTHING

    told = await asking.registries([mesh.address, Address("127.0.0.1", 1)], NOTHING)
    listed, lost = told.values()
    assert isinstance(listed, registry_pb2.ListWorkersResponse)
    assert str(lost).startswith("no registry at 127.0.0.1:1")
    assert await asking.statuses(listed.workers, NOTHING) == {"a": "does not answer at 127.0.0.1:1"}
    assert asking.gateway(Address("127.0.0.1", 1), encrypted=False) == "no gateway answers at 127.0.0.1:1"


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
