"""The console in a real browser, where something is wrong: silence, keys that end, refusals, no answers."""

import json
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from time import time
from typing import Any

import pytest
import pytest_asyncio
from playwright.async_api import Browser, Route, expect

from tests.console.conftest import shown
from tests.wire.fake_worker import FakeWorker, hang
from tests.wire.gateway_mesh import GatewayMesh, gateway_mesh
from tests.wire.test_keys import SECRET, Keys, follows

pytestmark = pytest.mark.asyncio(loop_scope="session")

SILENT = """() => {
    const real = window.fetch;
    let asked = 0;
    window.fetch = (path, options) => {
        if (!String(path).endsWith("/live") || asked++) return real(path, options);
        const begin = (to) => {
            to.enqueue(new TextEncoder().encode('event: whole\\ndata: {"workers": {}}\\n\\n'));
            options.signal.addEventListener("abort", () => to.error(options.signal.reason));
        };
        return Promise.resolve(new Response(new ReadableStream({ start: begin })));
    };
    document.dispatchEvent(new Event("visibilitychange"));
}"""
"""The next picture of the mesh comes from a machine that says no more after it, and does not hang up."""


@pytest_asyncio.fixture(loop_scope="session")
async def mesh() -> AsyncIterator[GatewayMesh]:
    """A worker that never answers."""
    async with gateway_mesh(FakeWorker(script=hang)) as running:
        yield running


async def test_a_gateway_that_fell_silent_is_asked_again(browser: Browser, mesh: GatewayMesh) -> None:
    """What was on the screen would stand there as if it were so."""
    async with shown(browser, mesh.rest) as tab:
        page = tab.page
        await expect(page.locator(".worker")).to_have_count(1)
        await page.clock.install()
        await page.evaluate(SILENT)
        await expect(page.locator(".worker")).to_have_count(0)
        await page.clock.fast_forward(60_000)
        await expect(page.locator(".worker")).to_have_count(1)
        await expect(page.locator("#link")).to_have_text("Live")


async def test_a_request_that_hangs_tells_for_how_long(browser: Browser, mesh: GatewayMesh) -> None:
    """In its line of time too; the story is told anew each second, and leaves the focus and marks alone."""
    async with shown(browser, mesh.rest, "#/playground") as tab:
        page = tab.page
        await page.get_by_label("Message").fill("Hello?")
        await page.keyboard.press("Enter")
        await tab.view("Requests")
        await page.locator("#requests tbody tr").first.get_by_role("link").click()
        story = page.locator(".story")
        await expect(story).to_contain_text("runs, for")
        close = story.get_by_role("link", name="Close")
        await close.focus()
        before = await story.locator(".facts").element_handle()
        assert before is not None
        await page.wait_for_function("old => !old.isConnected", arg=before)
        await expect(close).to_be_focused()
        lasted = await story.locator(".time-row").last.locator(".num").inner_text()
        assert lasted != "0 ms"


async def test_whoever_looks_with_a_key_that_ends_is_told_so(browser: Browser, tmp_path: Path) -> None:
    """Nothing of what he saw stays."""
    keys = Keys(tmp_path)
    async with gateway_mesh(FakeWorker(), keys=keys.place, mesh_secret=SECRET) as mesh:
        key = keys.make(endpoints=("console",))
        await follows(mesh, key, 403)
        async with shown(browser, mesh.rest) as tab:
            page = tab.page
            await page.keyboard.press("k")
            box = page.get_by_role("dialog", name="API key")
            await box.get_by_label("API key").fill(f"“{key}”")
            await page.keyboard.press("Enter")
            await expect(box.get_by_role("alert")).to_contain_text("beyond ASCII")
            await box.get_by_label("API key").fill(key)
            await page.keyboard.press("Enter")
            await expect(page.locator(".worker")).to_have_count(1)
            keys.store.change_key(key[6:18], lambda held: replace(held, revoked=time()))
            await expect(page.locator("#notice")).to_contain_text("has been revoked. Press Key")
            await expect(page.locator(".worker")).to_have_count(0)
            await expect(page.locator(".figure").first).to_contain_text("–")


async def test_no_key_is_asked_for_where_none_helps(browser: Browser, mesh: GatewayMesh) -> None:
    """A gateway without keys refuses names that may be another site's."""
    refusal = {"error": {"message": "Another name may be another site's.", "code": "permission_denied"}}

    async def refuse(route: Route) -> None:
        await route.fulfill(status=403, json=refusal)

    async with shown(browser, mesh.rest, "#/playground") as tab:
        await tab.page.route("**/console/data/**", refuse)
        await tab.page.reload()
        await tab.view("Mesh")
        await expect(tab.page.locator("#notice")).to_have_text(refusal["error"]["message"])
        await tab.view("Keys")
        await expect(tab.page.locator("#keys [role=status]")).to_have_text(refusal["error"]["message"])


async def test_a_gateway_that_does_not_answer_is_named(browser: Browser, mesh: GatewayMesh) -> None:
    """Else its workers and requests would be missed by nobody."""
    picture = {"mesh": {"now": {"unanswered": ["south (it does not answer)"]}}}

    async def tell(route: Route) -> None:
        body = f"event: whole\ndata: {json.dumps(picture)}\n\n"
        await route.fulfill(body=body, content_type="text/event-stream")

    async with shown(browser, mesh.rest, "#/keys") as tab:
        await tab.page.route("**/console/data/live", tell)
        await tab.page.reload()
        await tab.view("Mesh")
        await expect(tab.page.locator("#mesh")).to_contain_text("No answer of south (it does not answer).")


async def test_a_question_without_an_answer_is_not_asked_again(browser: Browser, mesh: GatewayMesh) -> None:
    """It stands in the field for another try; templates take no two questions in a row."""
    asked: list[Any] = []

    async def refuse(route: Route) -> None:
        asked.append(json.loads(route.request.post_data or "")["messages"])
        await route.fulfill(status=429, json={"error": {"message": "Full."}})

    async with shown(browser, mesh.rest, "#/playground") as tab:
        page = tab.page
        await page.route("**/v1/chat/completions", refuse)
        message = page.get_by_label("Message")
        await message.fill("one")
        await page.keyboard.press("Enter")
        await expect(page.locator(".turn.assistant .why").last).to_have_text("Full.")
        await expect(message).to_have_value("one")
        await message.fill("two")
        await page.keyboard.press("Enter")
        await expect(page.locator(".turn.assistant .why")).to_have_count(2)
    assert asked == [[{"role": "user", "content": "one"}], [{"role": "user", "content": "two"}]]
