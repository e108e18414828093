"""How times, rates and happenings of late are kept, and put together over processes."""

import pytest

from inferloom.v1 import gateway_pb2 as pb
from inferloom_gateway.picture.activity import Rate, Recent, sum_of
from inferloom_gateway.picture.happenings import KEPT_S, MOST, Happenings, merged
from inferloom_gateway.picture.merging import together as meshes_together
from inferloom_gateway.picture.spread import BUCKETS, RecentTimes, bucket_of, together
from inferloom_mesh.durations import seconds


def test_a_time_is_in_the_bucket_whose_bound_keeps_it() -> None:
    """Bucket i ends at 2^(i/2) ms; the first takes what is shorter, the last what is longer."""
    for place in range(BUCKETS - 1):
        bound = 2 ** (place / 2) / 1e3
        assert bucket_of(bound * 0.999) == place
        assert bucket_of(bound * 1.001) == place + 1
    assert bucket_of(0.0) == 0
    assert bucket_of(1e9) == BUCKETS - 1


def test_quantiles_keep_what_they_say() -> None:
    """Half, and 95 of 100, are at most as long as what is told, and not much less; old ones are forgotten."""
    times = RecentTimes()
    for each in range(1, 101):
        times.add(each / 100, now=5.0)
    told = times.read(now=30.0)
    assert told.count == 100
    assert seconds(told.mean) == pytest.approx(0.505)
    assert 0.5 <= seconds(told.p50) <= 0.5 * 2**0.5
    assert 0.95 <= seconds(told.p95) <= 1.0
    assert seconds(told.longest) == 1.0
    assert times.read(now=80.0).count == 0


def test_spreads_of_several_processes_are_one() -> None:
    """As if one had counted all; one of another kind is left out."""
    one, other, whole = RecentTimes(), RecentTimes(), RecentTimes()
    for place, value in enumerate((0.01, 0.5, 0.02, 3.0, 0.04)):
        (one if place % 2 else other).add(value, 0.0)
        whole.add(value, 0.0)
    strange = pb.Spread(count=3, buckets=[3])
    assert together([one.read(0.0), strange, other.read(0.0), pb.Spread()]) == whole.read(0.0)
    assert together([]) == pb.Spread()


def test_a_rate_is_over_whole_seconds() -> None:
    """Of the last ten, without the one that runs; it is nothing when nothing comes."""
    rate = Rate()
    for second in range(20):
        rate.add(30, second + 0.5)
    assert rate.read(19.9) == 30
    assert rate.read(25.0) == 15
    assert rate.read(40.0) == 0


def test_activities_add_up() -> None:
    """What runs, and rates."""
    one, other = Recent(), Recent()
    one.running, other.running = 2, 3
    one.requests.add(10, 1.0)
    other.tokens.add(20, 1.0)
    told = sum_of([one.read(2.0), other.read(2.0)])
    assert (told.running, told.requests_per_second, told.tokens_per_second) == (5, 1.0, 2.0)


def test_what_happens_many_times_at_once_stands_once() -> None:
    """With how often, and without the name of one request; later it stands anew."""
    happenings = Happenings("g")
    for name in ("r1", "r2", "r3"):
        happenings.add(
            pb.HAPPENING_KIND_REQUEST_MOVED, 100.0, worker="a", to_worker="b", request_id=name, tokens=5
        )
    happenings.add(pb.HAPPENING_KIND_WORKER_LEFT, 101.0, worker="a", reason="expired")
    happenings.add(pb.HAPPENING_KIND_REQUEST_MOVED, 200.0, worker="a", to_worker="b", request_id="r4")
    first, second, third = happenings.read(now=200.0)
    assert (first.count, first.request_id, first.tokens) == (3, "", 0)
    assert (second.kind, second.reason, second.count) == (pb.HAPPENING_KIND_WORKER_LEFT, "expired", 1)
    assert (third.count, third.request_id) == (1, "r4")


def test_happenings_are_bounded() -> None:
    """In number and in age."""
    happenings = Happenings()
    for place in range(MOST + 5):
        happenings.add(pb.HAPPENING_KIND_WORKER_CAME, float(place), worker=f"w{place}")
    assert len(happenings.read(now=0.0)) == MOST
    assert not happenings.read(now=KEPT_S * 2 + MOST)


def test_what_all_gateways_heard_stands_once() -> None:
    """A lease that ended is news of the registry; a way that was lost is each gateway's own."""
    seen = []
    for place, gateway in enumerate(("g1", "g2", "g2")):
        happenings = Happenings(gateway)
        happenings.add(pb.HAPPENING_KIND_WORKER_LEFT, 10.0 + place, worker="a", reason="expired")
        happenings.add(pb.HAPPENING_KIND_WORKER_UNREACHABLE, 9.0, worker="a")
        seen += happenings.read(now=20.0)
    told = merged(seen)
    assert [(one.kind, one.gateway) for one in told] == [
        (pb.HAPPENING_KIND_WORKER_UNREACHABLE, "g1"),
        (pb.HAPPENING_KIND_WORKER_UNREACHABLE, "g2"),
        (pb.HAPPENING_KIND_WORKER_LEFT, ""),
    ]
    assert seen[1].gateway == "g1"  # what was told is not changed


def test_meshes_of_several_processes_are_one() -> None:
    """A worker's newest registration holds, calls on it add up, and every process's standing is there."""
    old = pb.MeshWorker(id="w", epoch=1, address="old", in_flight=2)
    old.standings.add(gateway="a", in_flight=2)
    old.transports.append("tcp")
    new = pb.MeshWorker(id="w", epoch=2, address="new", in_flight=3)
    new.standings.add(gateway="b", unreachable=True)
    new.transports.append("grpc")
    model = pb.MeshModel(id="m", workers=1, usable=1)
    differs = pb.MeshModel(id="m", workers=2, usable=2, differing=True)
    differs.activity.running = 3
    one = pb.Mesh(processes=[pb.GatewayProcess(gateway="b", pid=2)], workers=[old], models=[model])
    other = pb.Mesh(processes=[pb.GatewayProcess(gateway="a", pid=9)], workers=[new], models=[differs])
    other.activity.running = 3
    silent = pb.Unanswered(name="c")
    mesh = meshes_together([one, other], [silent])
    assert [each.gateway for each in mesh.processes] == ["a", "b"]
    [worker] = mesh.workers
    assert (worker.address, worker.in_flight) == ("new", 5)
    assert [each.gateway for each in worker.standings] == ["a", "b"]
    assert worker.transports == ["grpc", "tcp"]
    [both] = mesh.models
    assert (both.workers, both.differing, both.activity.running) == (1, True, 3)
    assert (mesh.activity.running, list(mesh.unanswered)) == (3, [silent])
    assert len(old.standings) == 1  # what was given is not changed
