"""The console's rows and stories, of what the gateway tells."""

from inferloom.v1 import gateway_pb2 as pb
from inferloom.v1 import registry_pb2
from inferloom_gateway.console.mesh_rows import sections
from inferloom_gateway.console.requests import story
from inferloom_mesh.durations import duration


def record(**more: object) -> pb.RequestRecord:
    """A request that came at 1000 s."""
    made = pb.RequestRecord(request_id="r", **more)  # type: ignore[arg-type] # of many types
    made.arrived_at.FromSeconds(1000)
    return made


def test_a_story_tells_for_how_long_its_request_runs() -> None:
    """Its line of time has nowhere to go otherwise; one that ended has an end. Clocks may differ."""
    running = record(state=pb.REQUEST_STATE_RUNNING)
    assert story(running, 1300.25)["age"] == 300.25
    assert story(running, 999.0)["age"] == 0.0
    assert story(record(state=pb.REQUEST_STATE_DONE, ended=duration(2.0)), 1300.0)["age"] is None


def test_a_worker_is_ejected_where_one_gateway_asks_it_for_nothing() -> None:
    """What different gateways leave alone of it does not add up: each asks it for the rest."""
    mesh = pb.Mesh()
    worker = mesh.workers.add(id="w", models=["m1", "m2"], state=registry_pb2.WORKER_STATE_READY)
    for gateway, model in (("a", "m1"), ("b", "m2")):
        worker.standings.add(gateway=gateway).ejected_models.add(model=model, time_left=duration(30))
    (row,) = sections(mesh)["workers"].values()
    assert (row["state"], "m1, m2 for 30 s" in row["why"]) == ("ready", True)
    worker.standings[0].ejected_models.add(model="m2", time_left=duration(9))
    (row,) = sections(mesh)["workers"].values()
    assert row["state"] == "ejected"


def test_what_a_newer_gateway_says_happened_is_shown_by_its_number() -> None:
    """One that does not know it shows all of the mesh nevertheless."""
    mesh = pb.Mesh()
    mesh.happenings.add(kind=4711, worker="w")
    (row,) = sections(mesh)["happenings"].values()
    assert (row["kind"], row["worker"]) == ("KIND_4711", "w")
