"""Keys of batches, as the process finds them that asks for the lines."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

from starlette.responses import JSONResponse

from inferloom_gateway.access.access import Access
from inferloom_gateway.access.following import STALE_S
from inferloom_gateway.access.identity import Identity
from inferloom_gateway.batching.line_call import asker
from inferloom_gateway.batching.verdict import Verdict, judge
from inferloom_gateway.fleet.members import Fleet
from inferloom_gateway.settings import GatewaySettings
from tests.patience import until_async
from tests.wire.test_keys import Keys

CHAT = "/v1/chat/completions"


async def test_a_key_that_was_made_elsewhere_just_now_does_not_end_its_batch(tmp_path: Path) -> None:
    """Its lines wait; one that is revoked does, or is not known past the time in which it must be."""
    keys, now = Keys(tmp_path), 0.0
    access = Access(keys.place, None, GatewaySettings(), Fleet())
    gateway = cast("Any", SimpleNamespace(access=access, clock=lambda: now))
    ask = asker(gateway, JSONResponse({}))

    async def verdict(key_id: str) -> Verdict:
        reply = await ask(CHAT, b"{}", Identity("acme", key_id), "line")
        return judge(reply.status, reply.code, reply.retry_after, 0)

    async with access.running():
        made = keys.make().split("-")[2]
        assert await verdict(made) is Verdict.LIMITED
        await until_async(lambda: verdict(made), "the key", lambda seen: seen is Verdict.DONE)
        assert await verdict("0" * 12) is Verdict.LIMITED
        now += STALE_S
        assert await verdict("0" * 12) is Verdict.LIMITED
        now += 0.1
        assert await verdict("0" * 12) is Verdict.BARRED
        revoked = keys.make(revoked=1.0).split("-")[2]
        seen = lambda: access.knows(revoked)  # noqa: E731
        await until_async(seen, "the key", True.__eq__)
        assert await verdict(revoked) is Verdict.BARRED
