"""Counting, and adding up over processes."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.parser import text_string_to_metric_families

from inferloom_mesh.metrics import Metrics, added, lasting, rendered
from inferloom_mesh.metrics_reports import Reports, report, scrape
from tests.patience import until_async


def samples(text: bytes) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    """Every sample by its name and labels."""
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text.decode())
        for sample in family.samples
    }


def value(text: bytes, name: str, **labels: str) -> float | None:
    """One sample."""
    return samples(text).get((name, tuple(sorted(labels.items()))))


def counting(times: int) -> Metrics:
    """The metrics of a process in which something happened so many times."""
    metrics = Metrics()
    count = metrics.counter("things", "Things.", "colour")
    sizes = metrics.histogram("size", "Sizes.", (1, 10), "colour")
    metrics.gauge("now", "How much of it there is.", (), lambda: [((), times)], merged="sum")
    metrics.gauge("seen", "What all see.", (), lambda: [((), 2)], merged="largest")
    for _ in range(times):
        count.add("red")
        sizes.add(5, "red")
    return metrics


def test_what_is_counted_is_what_is_read() -> None:
    """Counters, gauges and histograms, in Prometheus' form."""
    text, media_type = rendered(counting(3).snapshot())
    assert media_type.startswith("text/plain")
    assert value(text, "things_total", colour="red") == 3
    assert value(text, "now") == 3
    assert value(text, "size_count", colour="red") == 3
    assert value(text, "size_sum", colour="red") == 15
    assert value(text, "size_bucket", colour="red", le="1.0") == 0
    assert value(text, "size_bucket", colour="red", le="10.0") == 3
    assert value(text, "size_bucket", colour="red", le="+Inf") == 3


def test_a_value_at_a_bound_is_in_its_bucket() -> None:
    """As Prometheus says: less or equal."""
    metrics = Metrics()
    sizes = metrics.histogram("size", "Sizes.", (1, 10))
    for size in (1, 10, 11):
        sizes.add(size)
    text, _ = rendered(metrics.snapshot())
    assert [value(text, "size_bucket", le=le) for le in ("1.0", "10.0", "+Inf")] == [1, 2, 3]


def test_openmetrics_is_spoken_to_who_asks() -> None:
    """By the Accept header."""
    text, media_type = rendered(counting(1).snapshot(), "application/openmetrics-text; version=1.0.0")
    assert media_type.startswith("application/openmetrics-text")
    assert text.endswith(b"# EOF\n")


def test_processes_are_added_up() -> None:
    """All but what each sees the same, and what there is no sum of."""
    one, two = counting(2).snapshot(), counting(3).snapshot()
    text, _ = rendered(added([one, two]))
    assert value(text, "things_total", colour="red") == 5
    assert value(text, "now") == 5
    assert value(text, "seen") == 2
    assert value(text, "size_bucket", colour="red", le="10.0") == 5
    alone = rendered(one)[0]
    for name in ("process_start_time_seconds", "process_max_fds", "process_open_fds"):
        assert value(text, name) == value(alone, name)


def test_what_a_process_was_goes_with_it_and_what_it_did_stays() -> None:
    """Gauges are left out of what outlives it."""
    text, _ = rendered(lasting(counting(2).snapshot()))
    assert value(text, "things_total", colour="red") == 2
    assert value(text, "now") is None


@asynccontextmanager
async def reporting(path: Path, metrics: Metrics) -> AsyncIterator["asyncio.Task[None]"]:
    """A child that reports until the block ends."""
    task = asyncio.create_task(report(path, metrics))
    try:
        yield task
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


@pytest.fixture
async def parent(tmp_path: Path) -> AsyncIterator[tuple[Reports, Path]]:
    """A parent, and its socket."""
    reports, path = Reports(), tmp_path / "s"
    await reports.listen(path)
    yield reports, path
    reports.close()


async def give_way() -> None:
    """Let others run: without a child, a sum waits for nothing."""
    await asyncio.sleep(0)


async def until(reports: Reports, name: str, expected: float, **labels: str) -> None:
    """Wait until the sum has a value; fail if it does not come to that."""

    async def now() -> float | None:
        return value(rendered(await reports.sum())[0], name, **labels)

    await until_async(now, f"{name} of {expected}", lambda seen: seen == expected)


async def test_a_scrape_holds_what_was_done_before_it(parent: tuple[Reports, Path]) -> None:
    """However long ago the children last reported by themselves, and whichever got the scrape."""
    reports, path = parent
    first, second = counting(1), counting(1)
    async with reporting(path, first), reporting(path, second):
        await until(reports, "things_total", 2, colour="red")
        extra = first.counter("more", "More.")
        for expected in range(1, 20):
            extra.add()
            text, _ = await scrape(path, "")
            assert value(text, "more_total") == expected
            assert value(text, "things_total", colour="red") == 2


async def test_what_all_see_is_not_added_up_over_the_wire(parent: tuple[Reports, Path]) -> None:
    """Children say how each of their metrics is merged."""
    reports, path = parent
    async with reporting(path, counting(1)), reporting(path, counting(4)):
        await until(reports, "now", 5)
        await until(reports, "seen", 2)


async def test_what_an_ended_child_counted_stays_and_is_counted_once(parent: tuple[Reports, Path]) -> None:
    """Its counters go on in the sum; its gauges do not."""
    reports, path = parent
    lasts, ends = counting(1), counting(5)
    async with reporting(path, lasts):
        async with reporting(path, ends):
            await until(reports, "now", 6)
        await until(reports, "now", 1)
        for _ in range(3):
            text, _ = await reports.read("")
            assert value(text, "things_total", colour="red") == 6
        async with reporting(path, counting(2)):
            await until(reports, "things_total", 8, colour="red")


async def test_a_childs_last_report_is_made_when_it_ends(parent: tuple[Reports, Path]) -> None:
    """What it counted since the one before is not lost."""
    reports, path = parent
    metrics = counting(1)
    count = metrics.counter("late", "Late.")
    async with reporting(path, metrics):
        await until(reports, "now", 1)
        count.add(by=7)
    await until(reports, "late_total", 7)


async def test_a_child_that_hangs_delays_a_scrape_and_is_told_as_it_was(parent: tuple[Reports, Path]) -> None:
    """Its last report counts; others are fresh."""
    reports, path = parent
    _, writer = await asyncio.open_unix_connection(path)
    family = {"name": "x", "kind": "counter", "text": "", "labels": [], "bounds": [], "rows": [[[], [4]]]}
    for message in (b"null", json.dumps([0, [{**family, "merged": "sum"}]]).encode()):
        writer.write(len(message).to_bytes(4, "big") + message)
    async with reporting(path, counting(1)):
        await until(reports, "x_total", 4)
        await until(reports, "things_total", 1, colour="red")
    writer.close()


async def test_a_parent_that_is_gone_is_an_error(tmp_path: Path) -> None:
    """Which the gateway answers with 503."""
    with pytest.raises(FileNotFoundError):
        await scrape(tmp_path / "nobody", "")
    await report(tmp_path / "nobody", Metrics())


def test_a_librarys_metrics_are_passed_on_where_there_are_none_of_their_name() -> None:
    """Ours are told once."""
    ours = Metrics()
    ours.counter("both", "Ours.").add(by=2)
    others = [GaugeMetricFamily("theirs", "Theirs.", value=3), GaugeMetricFamily("both", "Theirs.", value=9)]
    text = rendered(ours.snapshot(), "", others)[0].decode()
    assert "theirs 3.0" in text
    assert "both_total 2.0" in text
    assert "both 9.0" not in text


@pytest.mark.parametrize(
    "accept",
    [
        "",
        "text/plain;version=0.0.4",
        "application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.5",  # Prometheus 2
        "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6",
        "application/openmetrics-text;version=1.0.0;escaping=underscores;q=0.6",  # Prometheus 3, old names
        "text/plain;version=1.0.0;escaping=underscores",
    ],
)
def test_names_keep_their_colons_however_they_are_asked_for(accept: str) -> None:
    """Those of vLLM's metrics have some."""
    metrics = Metrics()
    metrics.counter("vllm:prompt_tokens", "Tokens.", "model_name").add("m")
    text, _ = rendered(metrics.snapshot(), accept)
    assert b'\nvllm:prompt_tokens_total{model_name="m"} 1.0\n' in text
