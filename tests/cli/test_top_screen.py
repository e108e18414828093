"""What `inferloom top` shows, in any size."""

import io

import pytest
from rich.console import Console

from inferloom.v1 import gateway_pb2 as pb
from inferloom.v1 import registry_pb2
from inferloom_cli.top_rows import gateways, links, standing
from inferloom_cli.top_screen import fitted, screen
from inferloom_gateway.picture.spread import spread
from inferloom_mesh.durations import duration


def worker(name: str, **more: object) -> pb.MeshWorker:
    """One that is well."""
    return pb.MeshWorker(
        id=name, state=registry_pb2.WORKER_STATE_READY, models=["chat"], capacity=8,
        lease_state=registry_pb2.LEASE_STATE_ACTIVE, **more,  # type: ignore[arg-type] # of many types
    )  # fmt: skip


def mesh(workers: int = 2) -> pb.Mesh:
    """Two gateways, one of two processes, workers, a model, and what happened."""
    counts = [0] * 40
    counts[10] = 3
    activity = pb.Activity(
        running=3, requests_per_second=1.5, tokens_per_second=812, first_token=spread(counts, 0.09, 0.031)
    )
    told = pb.Mesh(activity=activity)
    told.taken_at.FromSeconds(1_800_000_000)
    for name, pid, ready in (("east", 1, True), ("east", 2, False), ("west", 3, True)):
        told.processes.add(gateway=name, pid=pid, ready=ready, activity=activity, waiting=1)
    for number in range(workers):
        load = registry_pb2.Load(running=number, free_kv_tokens=25, total_kv_tokens=100)
        told.workers.append(worker(f"worker-{number}", load=load))
    told.models.add(id="chat", workers=2, usable=1, activity=activity)
    for number in range(30):
        one = told.happenings.add(kind=pb.HAPPENING_KIND_WORKER_LEFT, worker=f"gone-{number}", count=1)
        one.at.FromSeconds(1_800_000_000 + number)
    told.unanswered.add(name="south", address="10.0.0.3:1", why="it does not answer")
    return told


def shown(told: pb.Mesh, width: int, height: int, away: str = "") -> list[str]:
    """The lines of a screen."""
    console = Console(width=width, file=io.StringIO(), highlight=False)
    console.print(screen(told, width, height, [1.0, 2.0, 4.0], away))
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue().splitlines()


@pytest.mark.parametrize(("width", "height"), [(140, 40), (100, 30), (80, 24), (60, 20)])
@pytest.mark.parametrize("workers", [1, 3, 60])
def test_it_fits(width: int, height: int, workers: int) -> None:
    """Columns and lines; each table is there, and says how many more there are."""
    lines = shown(mesh(workers), width, height)
    assert len(lines) < height + 1
    assert max(map(len, lines)) <= width
    text = "\n".join(lines)
    for title in ("GATEWAY", "WORKER", "MODEL", "LATELY", "no answer from south"):
        assert title in text
    if workers != 3:  # which is cut on the smallest screen only
        assert (" more" in text) == (workers == 60)


def test_words_are_whole_at_eighty_columns() -> None:
    """Which columns there are follows the width, so that none is cut."""
    text = "\n".join(shown(mesh(), 80, 24))
    for words in ("inferloom top", "812 tok/s", "GATEWAY  STATE", "1 of 2", "worker-1  ready", "75%", "1/2"):
        assert words in text, text


def test_the_newest_stands_first_and_what_is_away_is_said() -> None:
    """What happened fills what is left."""
    lines = shown(mesh(), 140, 24, away="the gateway is away")
    place = lines.index("LATELY")
    assert "gone-29" in lines[place + 1]
    assert any("the gateway is away" in line for line in lines)


def test_sections_give_way_to_each_other() -> None:
    """The longest first, and none wholly."""
    assert fitted([2, 60, 10], 20) == [2, 9, 9]
    assert fitted([2, 3], 20) == [2, 3]
    assert fitted([5, 5], 0) == [1, 1]


def test_gateways_are_their_processes_together() -> None:
    """Sums; one that is not ready shows."""
    east, west = gateways(mesh())
    assert (east.processes, east.state, east.activity.running, east.waiting) == (2, "1 of 2", 6, 2)
    assert (west.processes, west.state) == (1, "ready")


def test_what_carries_calls_is_counted_where_gateways_differ() -> None:
    """One that has not attached yet has nothing."""
    one = worker("w")
    del one.transports[:]
    assert links(one) == "–"
    one.transports.extend(["tcp", "tcp"])
    assert links(one) == "tcp"
    one.transports.append("grpc")
    assert links(one) == "grpc 1, tcp 2"


def test_the_worst_that_speaks_against_a_worker_is_shown() -> None:
    """Before its state."""
    one = worker("w")
    assert (standing(one).plain, standing(one).style) == ("ready", "")
    one.standings.add(gateway="east").not_now.add(model="chat", full=True)
    assert standing(one).plain == "full"
    one.state = registry_pb2.WORKER_STATE_DRAINING
    assert standing(one).plain == "draining"
    one.standings.add(gateway="west", ejected_for=duration(29))
    assert standing(one).plain == "ejected 29 s"
    del one.standings[-1]
    failing = one.standings.add(gateway="west").ejected_models
    failing.add(model="chat", time_left=duration(7))
    assert standing(one).plain == "chat ejected 7 s"
    failing.add(model="embed", time_left=duration(9))
    assert standing(one).plain == "2 models ejected 9 s"
    one.lease_state = registry_pb2.LEASE_STATE_SUSPECT
    assert standing(one).plain == "lease suspect"
    one.standings[0].unreachable = True
    assert standing(one).plain == "unreachable (1)"
