"""Further names of models."""

import asyncio
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from inferloom_mesh.errors import InferloomError, Reason
from inferloom_worker.joining.self_description import SelfDescription
from inferloom_worker.settings import WorkerSettings
from tests.worker.test_host import make_host


async def test_an_alias_is_a_name_and_no_copy() -> None:
    """It has a card of its own that says whose it is, the same engine and hash, and no part in the
    capacity."""
    host = make_host()
    await host.start([("a", "echo")], [("x", "a", "folder")], [("gpt-4o", "a"), ("best", "x")])

    assert [(card.id, card.alias_of, card.parent) for card in host.cards] == [
        ("a", "", ""),
        ("best", "x", "a"),
        ("gpt-4o", "a", ""),
        ("x", "", "a"),
    ]
    model: Any = host.served("a")
    alias: Any = host.served("gpt-4o")
    assert (alias.engine, alias.card.compute_hash) == (model.engine, model.card.compute_hash)
    assert (list(alias.card.adapters), [each.card.id for each in host.models]) == (["x"], ["a"])
    assert SelfDescription(host, capacity=1).worker().capacity == 64


async def test_aliases_go_with_their_model_and_come_back_with_it() -> None:
    """Those of its adapters too. A call by a further name is one of the model's."""
    host = make_host()
    await host.start([("a", "echo")], [("x", "a", "folder")], [("b", "a"), ("y", "x")])
    with host.calls.run(host.served("b")):
        unloading = asyncio.create_task(host.unload("a", 60))
        await asyncio.sleep(0)
        assert not host.cards
        assert not unloading.done()
    await unloading
    await host.load("a", "echo")
    assert [card.id for card in host.cards] == ["a", "b"]


async def test_an_alias_can_be_unloaded_alone() -> None:
    """Its model stays, and can still be asked."""
    host = make_host()
    await host.start([("a", "echo")], aliases=[("b", "a")])
    await host.unload("b", 0)
    assert [card.id for card in host.cards] == ["a"]
    assert not host.served("a").health.fault
    with pytest.raises(InferloomError):
        host.served("b")


async def test_an_adapter_can_be_loaded_by_an_alias() -> None:
    """It is the model's."""
    host = make_host()
    await host.start([("a", "echo")], aliases=[("b", "a")])
    await host.load_adapter("x", "b", "folder")
    assert host.served("x").card.parent == "a"


async def test_names_that_are_to_come_are_not_unknown() -> None:
    """Adapters and aliases of a host that is starting are answered as its models are."""
    host = make_host()
    starting = asyncio.create_task(host.start([("a", "echo")], [("x", "a", "folder")], [("b", "a")]))
    await asyncio.sleep(0)
    assert list(host.loading) == ["a", "b", "x"]
    for name in host.loading:
        with pytest.raises(InferloomError) as caught:
            host.served(name)
        assert caught.value.reason is Reason.NO_WORKER
    await starting
    assert not host.loading


@pytest.mark.parametrize(
    ("alias", "why"),
    [("b=c", "not among the models"), ("a=a", "has the name of another"), ("b", "names no model")],
)
def test_an_alias_that_cannot_be_is_refused(alias: str, why: str, tmp_path: Path) -> None:
    """When the settings are read."""
    with pytest.raises((ValidationError, ValueError), match=why):
        WorkerSettings(models=("a=echo",), aliases=(alias,))
