from collections.abc import Callable

import pytest

from inferloom.v1 import inference_pb2
from inferloom.v1 import registry_pb2 as pb
from inferloom_mesh.errors import InferloomError, Reason
from inferloom_registry.admission import (
    check_epoch,
    check_load,
    check_loading,
    check_models,
    check_size,
    check_worker,
)
from tests.registry.samples import worker


def model(model_id: str) -> inference_pb2.Model:
    return inference_pb2.Model(id=model_id)


def refused(check: Callable[[], None]) -> str | None:
    """The field at fault."""
    with pytest.raises(InferloomError) as caught:
        check()
    assert caught.value.reason is Reason.INVALID_ARGUMENT
    return caught.value.param


@pytest.mark.parametrize("worker_id", ["a", "0", "gpu-3.rack-7", "x" * 63])
def test_good_names_are_taken(worker_id: str) -> None:
    """Lower-case letters, digits, dots and dashes, up to 63."""
    check_worker(worker(worker_id))


@pytest.mark.parametrize("worker_id", ["", "x" * 64, "W1", "a b", "a/b", "a\n", "ä", "a\x00"])
def test_bad_names_are_refused(worker_id: str) -> None:
    """Anything else."""
    assert refused(lambda: check_worker(worker(worker_id))) == "worker.id"


@pytest.mark.parametrize(
    ("changes", "param"),
    [
        ({"capacity": 0}, "worker.capacity"),
        ({"capacity": 2**32 - 1}, "worker.capacity"),
        ({"state": pb.WORKER_STATE_UNSPECIFIED}, "worker.state"),
        ({"state": 99}, "worker.state"),
        ({"loading": [""]}, "worker.loading[0]"),
        ({"loading": [f"m{number}" for number in range(257)]}, "worker.loading"),
        ({"version": "1" * 65}, "worker.version"),
        ({"labels": {f"l{number}": "" for number in range(33)}}, "worker.labels"),
        ({"labels": {"": "x"}}, "worker.labels"),
        ({"labels": {"x" * 64: ""}}, "worker.labels"),
        ({"labels": {"zone": "x" * 257}}, "worker.labels"),
        ({"address": "x" * 600_000}, "worker"),
    ],
)
def test_bad_fields_are_refused(changes: dict[str, object], param: str) -> None:
    """Each field outside its range is named."""
    described = worker()
    described.ClearField("state")
    fields: dict[str, object] = {"state": pb.WORKER_STATE_READY, "capacity": 8} | changes
    described.MergeFrom(pb.Worker(**{**fields, "capacity": 0}))  # type: ignore[arg-type] # of many types
    described.capacity = fields["capacity"]  # type: ignore[assignment] # some are wrong
    assert refused(lambda: check_worker(described)) == param


def test_the_most_of_everything_is_taken() -> None:
    """256 models and 32 labels are within the limits."""
    described = worker("w1", *(f"model-{number}" for number in range(256)))
    described.labels.update({f"l{number}": "x" * 256 for number in range(32)})
    check_worker(described)


@pytest.mark.parametrize(
    ("ids", "param"),
    [
        ([f"m{number}" for number in range(257)], "models"),
        (["ok", ""], "models[1].id"),
        (["x" * 257], "models[0].id"),
        (["a\x00b"], "models[0].id"),
        (["a\u2028b"], "models[0].id"),
        (["a", "a"], "models"),
    ],
)
def test_bad_models_are_refused(ids: list[str], param: str) -> None:
    """Too many, no name, a name too long or not printable, a name twice."""
    assert refused(lambda: check_models([model(each) for each in ids], "models")) == param


@pytest.mark.parametrize(
    ("names", "param"),
    [([f"m{n}" for n in range(257)], "loading"), (["ok", ""], "loading[1]"), (["a\x00b"], "loading[0]")],
)
def test_bad_names_of_loading_models_are_refused(names: list[str], param: str) -> None:
    """As those of models."""
    assert refused(lambda: check_loading(names, "loading")) == param


def test_models_that_are_too_large_are_refused() -> None:
    """A set of few but huge models is refused: each watcher would be sent it."""
    models = pb.ModelSet(models=[inference_pb2.Model(id="m", root="x" * 600_000)])
    assert refused(lambda: check_size(models, "models")) == "models"


@pytest.mark.parametrize(
    "rate",
    [float("nan"), float("inf"), float("-inf"), -0.1, 1e10],
    ids=["nan", "inf", "-inf", "minus", "huge"],
)
def test_rates_that_cannot_be_are_refused(rate: float) -> None:
    """A router would compute with them."""
    assert refused(lambda: check_load(pb.Load(tokens_per_second=rate))) == "load.tokens_per_second"


def test_no_more_is_free_than_there_is() -> None:
    """Free tokens of state are part of the total."""
    load = pb.Load(free_kv_tokens=2, total_kv_tokens=1)
    assert refused(lambda: check_load(load)) == "load.free_kv_tokens"
    check_load(pb.Load(free_kv_tokens=2, total_kv_tokens=2, tokens_per_second=3.5))


def test_an_epoch_must_leave_room_to_rise() -> None:
    """The highest number of the field would leave no next epoch."""
    assert refused(lambda: check_epoch(2**64 - 1)) == "previous_epoch"
    check_epoch(2**53)
