"""Every alert fires where it should and not where it should not, and somebody has written what to do."""

import re
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from inferloom_mesh.errors import TABLE
from tests.deploy.prometheus_needed import CONFIG, DEPLOY, RULES, alerts, needs_prometheus

RUNBOOKS = DEPLOY.parent / "docs" / "runbooks.md"

GATEWAY = 'job="inferloom-gateway",instance="g"'
WORKER = 'job="inferloom-worker",instance="w"'
REGISTRY = 'job="inferloom-registry",instance="r"'
MODEL = f'{GATEWAY},model_name="m"'
SERVED = f'{WORKER},model_name="m"'


AT = "22m"
"""When it is looked: longer than every alert waits, and soon after what grows has grown."""
LOOKED_S = 22 * 60
"""The same in seconds of the epoch, where promtool begins."""
DAY = 86_400

CERTIFICATE = f'{GATEWAY},use="door",kind="certificate"'


@dataclass(frozen=True)
class Case:
    """Series, in promtool's words, that have an alert fire, and such that do not."""

    bad: dict[str, str]
    good: dict[str, str]
    labels: str
    """Of the alert that fires, beside its name and severity."""


def buckets(name: str, labels: str, fast: str, slow: str) -> dict[str, str]:
    """A histogram of two buckets: below 0.1 s, and below 160 s."""
    return {
        f'{name}_bucket{{{labels},le="0.1"}}': fast,
        f'{name}_bucket{{{labels},le="160"}}': slow,
        f'{name}_bucket{{{labels},le="+Inf"}}': slow,
    }


def counted(labels: str, bad: str, good: str) -> Case:
    """Requests of which some fail, and none."""
    ok = f'inferloom_requests_total{{{GATEWAY},outcome="ok"}}'
    return Case(
        {ok: "0+100x100", f"inferloom_requests_total{{{GATEWAY},{labels}}}": bad},
        {ok: "0+100x100", f"inferloom_requests_total{{{GATEWAY},{labels}}}": good},
        "",
    )


def gauge(name: str, labels: str, bad: float, good: float, told: str) -> Case:
    """A value that stays."""
    series = f"{name}{{{labels}}}"
    return Case({series: f"{bad}x100"}, {series: f"{good}x100"}, told)


def grown(name: str, labels: str, told: str, bad: str = "0x70 0+1x30") -> Case:
    """A counter that goes up late, and one that stays where it is."""
    series = f"{name}{{{labels}}}"
    return Case({series: bad}, {series: "5x100"}, told)


def certificate(left_s: float, life_s: float, use: str = "door") -> dict[str, str]:
    """One that has so long left when it is looked, of so long."""
    ends = LOOKED_S + left_s
    name, labels = "inferloom_certificate_not", f'{GATEWAY},use="{use}",kind="certificate"'
    return {
        f"{name}_after_timestamp_seconds{{{labels}}}": f"{ends:.0f}x100",
        f"{name}_before_timestamp_seconds{{{labels}}}": f"{ends - life_s:.0f}x100",
    }


CASES = {
    "InferloomDown": gauge("up", WORKER, 0, 1, WORKER),
    "InferloomNoWorkers": gauge("inferloom_workers", f'{GATEWAY},state="ready"', 0, 1, 'instance="g"'),
    "InferloomErrors": counted('outcome="worker_lost"', "0+10x100", "0+1x100"),
    "InferloomOverloaded": counted('outcome="server_overloaded"', "0+5x100", "5x100"),
    "InferloomFirstTokenSlow": Case(
        buckets("vllm:time_to_first_token_seconds", MODEL, "0+1x100", "0+2x100"),
        buckets("vllm:time_to_first_token_seconds", MODEL, "0+2x100", "0+2x100"),
        'model_name="m"',
    ),
    "InferloomTokensSlow": Case(
        buckets("vllm:inter_token_latency_seconds", MODEL, "0+1x100", "0+2x100"),
        buckets("vllm:inter_token_latency_seconds", MODEL, "0+2x100", "0+2x100"),
        'model_name="m"',
    ),
    "InferloomQueueLong": Case(
        {
            f"vllm:num_requests_waiting{{{SERVED}}}": "9x100",
            f"vllm:num_requests_running{{{SERVED}}}": "8x100",
        },
        {
            f"vllm:num_requests_waiting{{{SERVED}}}": "8x100",
            f"vllm:num_requests_running{{{SERVED}}}": "8x100",
        },
        'model_name="m"',
    ),
    "InferloomCacheFull": gauge("vllm:kv_cache_usage_perc", SERVED, 0.97, 0.9, 'instance="w",model_name="m"'),
    "InferloomWorkersLost": grown(
        "inferloom_lease_losses_total", f'{REGISTRY},reason="expired"', 'reason="expired"'
    ),
    "InferloomMoves": grown(
        "inferloom_moves_total", f'{MODEL},reason="stalled"', 'model_name="m",reason="stalled"'
    ),
    "InferloomEjections": grown(
        "inferloom_ejections_total", f'{GATEWAY},reason="slow"', 'instance="g",reason="slow"'
    ),
    "InferloomWorkersUnreachable": gauge(
        "inferloom_workers", f'{GATEWAY},state="unreachable"', 1, 0, 'instance="g"'
    ),
    "InferloomRegistryFrozen": gauge("inferloom_registry_frozen", REGISTRY, 1, 0, 'instance="r"'),
    "InferloomModelsSilenced": gauge("inferloom_models_silenced", REGISTRY, 1, 0, 'instance="r"'),
    "InferloomLoopLate": Case(
        buckets("inferloom_event_loop_delay_seconds", WORKER, "0+90x100", "0+100x100"),
        buckets("inferloom_event_loop_delay_seconds", WORKER, "0+100x100", "0+100x100"),
        WORKER,
    ),
    "InferloomDescriptorsScarce": Case(
        {f"process_open_fds{{{GATEWAY}}}": "900x100", f"process_max_fds{{{GATEWAY}}}": "1000x100"},
        {f"process_open_fds{{{GATEWAY}}}": "700x100", f"process_max_fds{{{GATEWAY}}}": "1000x100"},
        GATEWAY,
    ),
    "InferloomCertificateNotRenewed": Case(
        certificate(13 * DAY, 365 * DAY),
        certificate(15 * DAY, 365 * DAY) | certificate(2 * DAY, 7 * DAY, "mesh"),
        CERTIFICATE,
    ),
    "InferloomCertificateEnds": Case(
        certificate(-1 * DAY, 365 * DAY),
        certificate(3 * DAY, 365 * DAY) | certificate(DAY, 7 * DAY, "mesh"),
        CERTIFICATE,
    ),
    "InferloomSlowReaders": grown("inferloom_slow_readers_total", GATEWAY, 'instance="g"', "0x70 0+2x30"),
    "InferloomTracesLost": grown("inferloom_spans_total", f'{WORKER},outcome="lost"', WORKER),
}


def looked_at(name: str, series: dict[str, str], fires: str | None) -> dict[str, Any]:
    """A test of promtool's."""
    severity = alerts()[name]["labels"]["severity"]
    known = f'alertname="{name}",alertstate="firing",severity="{severity}"'
    expected = (
        []
        if fires is None
        else [{"labels": f"ALERTS{{{','.join(filter(None, (known, fires)))}}}", "value": 1}]
    )
    return {
        "name": f"{name} {'fires' if expected else 'does not'}",
        "interval": "15s",
        "input_series": [{"series": key, "values": values} for key, values in series.items()],
        "promql_expr_test": [
            {
                "expr": 'ALERTS{alertstate="firing"}' if expected else f'ALERTS{{alertname="{name}"}}',
                "eval_time": AT,
            }
            | {"exp_samples": expected}
        ],
    }


def test_every_alert_has_a_case() -> None:
    """And nothing else has."""
    assert CASES.keys() == alerts().keys()


@pytest.mark.slow
@needs_prometheus
def test_every_alert_fires_where_it_should_and_not_where_it_should_not(tmp_path: Path) -> None:
    """By Prometheus's own evaluation; where one fires, no other does."""
    tests = [
        looked_at(name, *shape)
        for name, case in CASES.items()
        for shape in ((case.bad, case.labels), (case.good, None))
    ]
    (tmp_path / "tests.yml").write_text(
        yaml.safe_dump({"rule_files": [str(RULES)], "evaluation_interval": "15s", "tests": tests})
    )
    done = subprocess.run(
        ["promtool", "test", "rules", str(tmp_path / "tests.yml")],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


@needs_prometheus
def test_the_example_is_prometheuss() -> None:
    """With the rules that it names."""
    done = subprocess.run(
        ["promtool", "check", "config", str(CONFIG)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"{len(alerts())} rules found" in done.stdout


@pytest.mark.parametrize("name", CASES)
def test_every_alert_has_its_runbook(name: str) -> None:
    """It links to a section that says what it means, what to look at, with commands, and what to do."""
    annotations = alerts()[name]["annotations"]
    assert annotations["runbook_url"] == f"docs/runbooks.md#{name.lower()}"
    assert annotations["summary"]
    assert annotations["description"]
    sections = dict(
        re.findall(r"^## (\w+)\n(.*?)(?=^## |\Z)", RUNBOOKS.read_text(), re.MULTILINE | re.DOTALL)
    )
    section = sections[name]
    for part in ("**Means**", "**Look**", "**Do**"):
        assert section.count(part) == 1, f"{name} says nothing under {part}"
    look = section.partition("**Look**")[2].partition("**Do**")[0]
    assert "`" in look


def test_runbooks_are_of_alerts_that_there_are() -> None:
    """And in their order."""
    assert re.findall(r"^## (\w+)$", RUNBOOKS.read_text(), re.MULTILINE) == list(alerts())


def test_failures_of_our_own_are_those_of_the_error_table() -> None:
    """What the alert counts is what has a status of 500 and above, but for what tells of load or of a
    full disk, and what is not served."""
    expression = alerts()["InferloomErrors"]["expr"]
    found = re.search(r'outcome=~"([^"]+)"', expression)
    assert found is not None
    ours = {reason.value.lower() for reason, row in TABLE.items() if row.http >= 500}
    assert set(found[1].split("|")) == ours - {
        *("server_overloaded", "wait_too_long", "storage_full", "unimplemented"),
    }
