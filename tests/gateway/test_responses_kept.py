"""Kept responses: chains of them, whose they are, and what is gone."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from inferloom_gateway.http.responses.kept import Kept
from inferloom_gateway.http.responses.saved import Saved
from inferloom_gateway.http.responses.secret import SecretKeeper
from inferloom_gateway.http.responses.under_way import UnderWay
from inferloom_gateway.http.schema.responses import ResponseRequest
from inferloom_gateway.http.translate.responses.document import begun
from inferloom_gateway.settings import GatewaySettings
from inferloom_gateway.storage.runs import Chunk
from inferloom_gateway.storage.storage import Storage
from inferloom_mesh.errors import InferloomError, Reason

BODY = ResponseRequest.model_validate({"model": "m", "input": "Hi", "background": True})


@pytest.fixture
async def kept(tmp_path: Path) -> AsyncIterator[Kept]:
    """The responses of a store of their own."""
    settings = GatewaySettings(store=tmp_path)
    storage = Storage(settings)
    yield Kept(storage, settings.store_age_s)
    await storage.close()


def message(name: str, role: str = "user") -> dict[str, Any]:
    """An item."""
    return {"id": name, "type": "message", "role": role, "content": []}


async def save(kept: Kept, previous: str | None = None, status: str = "completed", tenant: str = "a") -> str:
    """Keep a response with one item of input and one of output; return its name."""
    name = await kept.new_name()
    stem = name.removeprefix("resp_")
    document = {**begun(BODY, name, 1, store=True), "status": status}
    document["output"] = [message(f"msg_{stem}out0", "assistant")]
    await kept.save(tenant, Saved(document, [message(f"msg_{stem}in0")], previous))
    return name


async def test_a_conversation_is_a_chain(kept: Kept) -> None:
    """Inputs and outputs of all responses that one goes on from, the oldest first; its own input last."""
    first = await save(kept)
    second = await save(kept, first)
    third = await save(kept, second)
    places = [
        (name.removeprefix("resp_"), place) for name in (first, second, third) for place in ("in0", "out0")
    ]
    names = [f"msg_{stem}{place}" for stem, place in places]
    assert [item["id"] for item in await kept.before("a", third)] == names
    assert [item["id"] for item in await kept.read_by("a", third)] == names[:-1]


async def test_what_is_not_there_is_told_apart(kept: Kept) -> None:
    """Unknown, another tenant's, gone from the middle, failed, under way."""
    first = await save(kept)
    second = await save(kept, first)
    for tenant, name in (("b", second), ("a", "resp_x")):
        with pytest.raises(InferloomError) as caught:
            await kept.before(tenant, name)
        assert caught.value.reason is Reason.NOT_FOUND
        assert name in caught.value.message
        with pytest.raises(InferloomError, match="No such response"):
            await kept.get(tenant, name)
        with pytest.raises(InferloomError, match="No such response"):
            await kept.delete(tenant, name)
    await kept.delete("a", first)
    with pytest.raises(InferloomError, match="not kept any more"):
        await kept.before("a", second)
    for status, said in (("failed", "failed"), ("in_progress", "not over yet"), ("queued", "not over yet")):
        with pytest.raises(InferloomError, match=said):
            await kept.before("a", await save(kept, status=status))


async def test_items_are_found_by_name(kept: Kept) -> None:
    """Those of the tenant's own responses."""
    stem = (await save(kept)).removeprefix("resp_")
    names = [(0, f"msg_{stem}in0"), (3, f"msg_{stem}out0")]
    assert set(await kept.referred("a", names)) == {name for _, name in names}
    for tenant, wanted in (("b", names[0]), ("a", (1, f"msg_{stem}out1")), ("a", (1, "msg_x"))):
        with pytest.raises(InferloomError) as caught:
            await kept.referred(tenant, [wanted])
        assert caught.value.param == f"input[{wanted[0]}].id"
        assert caught.value.reason is Reason.NOT_FOUND


async def test_gateways_of_a_store_have_one_secret(kept: Kept, tmp_path: Path) -> None:
    """What one seals the other opens; without a store each has its own."""
    sealed = (await SecretKeeper(kept.storage, None).seal()).seal("Hm.", "a")
    other = Storage(GatewaySettings(store=tmp_path))
    assert (await SecretKeeper(other, None).seal()).unseal(sealed, "a") == "Hm."
    await other.close()
    alone = SecretKeeper(Storage(GatewaySettings(no_store=True)), None)
    assert (await alone.seal()).unseal(sealed, "a") is None
    assert (await alone.seal()) is (await alone.seal())


async def test_a_run_is_its_owners(kept: Kept) -> None:
    """Events are told while it is claimed; who gave it up, or forgot it, hears no more."""
    own, other = UnderWay(kept, "own", 10), UnderWay(kept, "other", 10)
    name = await kept.new_name()
    document = begun(BODY, name, 1, store=True)
    await own.begin("a", Saved(document, [], None))
    lines = [b'{"type":"response.created"}', b'{"type":"response.queued"}']
    assert await own.tell("a", name, Chunk(0, lines))
    assert not await other.tell("a", name, Chunk(2, [b'{"type":"x"}']))
    news = await other.news("a", name, 0)
    assert [(chunk.first, chunk.lines) for chunk in news.chunks] == [(1, lines[1:])]
    assert (await other.news("a", name, 1)).over is None
    with pytest.raises(InferloomError, match="No such response"):
        await other.cancel("b", name)
    assert (await other.cancel("a", name))["status"] == "cancelled"
    assert not await own.tell("a", name, Chunk(2, [b'{"type":"x"}']))
    assert not await own.end("a", name, Chunk(2, []), {**document, "status": "completed"})
    news = await own.news("a", name, 1)
    assert news.over is not None
    assert (news.over["status"], news.last) == ("cancelled", (1, "response.queued"))
    row = await (await kept.documents()).get("a", name)
    assert row.content_bytes == len(b"\n".join(lines))
    await kept.delete("a", name)
    with pytest.raises(InferloomError, match="No such response"):
        await own.news("a", name, 1)
