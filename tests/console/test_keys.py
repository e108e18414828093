"""The console's keys and limits in a real browser, changed by the keyboard."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from axe_playwright_python.async_playwright import Axe
from playwright.async_api import Browser, Page, expect

from inferloom_gateway.access.api_key import Limits, Policy
from tests.console.conftest import NARROW, WIDE, Shown, shown
from tests.wire.fake_worker import FakeWorker
from tests.wire.gateway_mesh import gateway_mesh
from tests.wire.test_keys import SECRET, Keys, follows

pytestmark = pytest.mark.asyncio(loop_scope="session")


@pytest.fixture
def keys(tmp_path: Path) -> Keys:
    """A store without keys."""
    return Keys(tmp_path)


@dataclass
class Guarded:
    """A gateway that asks for keys, and one that may manage them."""

    rest: object
    key: str

    async def open(self, tab: Shown) -> Page:
        """Show the key, and go to the view of the keys."""
        await tab.page.evaluate("key => sessionStorage.setItem('inferloom-key', key)", self.key)
        await tab.page.reload()
        await tab.view("Keys")
        return tab.page


@pytest_asyncio.fixture(loop_scope="session")
async def gateway(keys: Keys) -> AsyncIterator[Guarded]:
    """It knows of the key."""
    async with gateway_mesh(FakeWorker(), keys=keys.place, mesh_secret=SECRET) as mesh:
        key = keys.make("ops", endpoints=("models", "console", "keys"))
        await follows(mesh, key)
        yield Guarded(mesh.rest, key)


async def grave(page: Page) -> list[str]:
    """What axe finds."""
    found = (await Axe().run(page)).response["violations"]
    return [each["id"] for each in found if each["impact"] in ("serious", "critical")]


async def test_limits_of_a_key_are_changed_by_the_keyboard(
    browser: Browser, gateway: Guarded, keys: Keys
) -> None:
    """What is wrong is said at its field, in the API's words, and nothing is lost; what is right holds."""
    key_id = keys.make("acme", name="app", limits=Limits(60, None, 4))[6:18]
    async with shown(browser, gateway.rest) as tab:
        page = await gateway.open(tab)
        button = page.get_by_role("button", name=f"Limits of {key_id}")
        await button.focus()
        await page.keyboard.press("Enter")
        box = page.get_by_role("dialog", name=f"Limits of key {key_id}")
        requests, tokens = box.get_by_label("Requests a minute"), box.get_by_label("Tokens a minute")
        await expect(requests).to_be_focused()
        await expect(requests).to_have_value("60")
        await page.keyboard.press("ControlOrMeta+a")
        await page.keyboard.type("120")
        await page.keyboard.press("Tab")
        await expect(tokens).to_be_focused()
        await page.keyboard.type("many")
        await page.keyboard.press("Enter")
        await expect(tokens).to_be_focused()
        await expect(tokens).to_have_attribute("aria-invalid", "true")
        wrong = "Invalid 'tokens_per_minute': must be an integer."
        await expect(tokens).to_have_accessible_description(wrong)
        assert not await grave(page)
        await page.keyboard.press("ControlOrMeta+a")
        await page.keyboard.type("9" * 400)
        await page.keyboard.press("Enter")
        await expect(tokens).to_have_attribute("aria-invalid", "true")
        assert keys.store.read()[1].keys[key_id].limits == Limits(60, None, 4)
        await page.keyboard.press("ControlOrMeta+a")
        await page.keyboard.type("5000")
        await page.keyboard.press("Enter")
        await expect(box).to_have_count(0)
        await expect(button).to_be_focused()
        done = f"The limits of key {key_id} are changed."
        await expect(page.locator("#keys [role=status]")).to_have_text(done)
        await expect(page.locator("#keys")).to_contain_text(
            "Default endpoints are all but metrics, console, keys"
        )
        row = page.locator("tr").filter(has_text=key_id)
        await expect(row).to_contain_text("default")
        await expect(row).to_contain_text("120\u00a0requests/min, 5,000\u00a0tokens/min, 4\u00a0at once")
    assert keys.store.read()[1].keys[key_id].limits == Limits(120, 5000, 4)


async def test_whoever_has_no_key_is_told_how_to_show_one(browser: Browser, gateway: Guarded) -> None:
    """And which endpoint it must have."""
    async with shown(browser, gateway.rest, "#/keys") as tab:
        said = tab.page.locator("#keys [role=status]")
        await expect(said).to_contain_text("Press Key to show one that has the endpoint “keys”.")


async def test_limits_of_tenants_and_models_are_laid_down_changed_and_removed(
    browser: Browser, gateway: Guarded, keys: Keys
) -> None:
    """Only tenants have a share."""
    async with shown(browser, gateway.rest) as tab:
        page = await gateway.open(tab)
        for kind, name in (("tenant", "acme"), ("model", "chat-*")):
            await page.get_by_role("button", name="New limits").click()
            box = page.get_by_role("dialog", name="New limits")
            await box.get_by_label("For").select_option(kind)
            await box.get_by_role("button", name="Save").click()
            await expect(box.get_by_label("Name")).to_have_attribute("aria-invalid", "true")
            await box.get_by_label("Name").fill(name)
            await box.get_by_label("At once").fill("8")
            share = box.get_by_label("Share")
            if kind == "tenant":
                await share.fill("0")
                await page.keyboard.press("Enter")
                await expect(share).to_have_attribute("aria-invalid", "true")
                await share.fill("2.5")
            else:
                await expect(share).to_be_hidden()
            await page.keyboard.press("Enter")
            await expect(box).to_have_count(0)
        ring = keys.store.read()[1]
        assert ring.tenants == {"acme": Policy(Limits(concurrent=8), 2.5)}
        assert ring.models == {"chat-*": Policy(Limits(concurrent=8))}
        await page.get_by_role("button", name="Change the limits of tenant acme").click()
        box = page.get_by_role("dialog", name="Limits of tenant acme")
        await expect(box.get_by_label("Share")).to_have_value("2.5")
        await box.get_by_role("button", name="Remove").click()
        await expect(page.get_by_role("button", name="Change the limits of tenant acme")).to_have_count(0)
    assert not keys.store.read()[1].tenants


@pytest.mark.parametrize(
    ("scheme", "size"),
    [pytest.param("light", WIDE, id="light wide"), pytest.param("dark", NARROW, id="dark narrow")],
)
async def test_axe_finds_nothing_serious_in_forms(
    browser: Browser, gateway: Guarded, keys: Keys, scheme: Any, size: Any
) -> None:
    """And they fit their screen, with an error shown."""
    keys.store.put_policy("tenant", "acme", Policy(Limits(60), 2))
    async with shown(browser, gateway.rest, color_scheme=scheme, viewport=size) as tab:
        page = await gateway.open(tab)
        for name in ("New key", "New limits", "Change the limits of tenant acme"):
            await page.get_by_role("button", name=name).click()
            if name == "New limits":
                await page.get_by_label("Name", exact=True).fill("acme")
            await page.get_by_label("At once").fill("-1")
            await page.keyboard.press("Enter")
            await expect(page.locator("dialog [aria-invalid=true]")).to_have_count(1)
            assert not await grave(page), name
            assert await page.evaluate("document.documentElement.scrollWidth <= innerWidth"), name
            await page.keyboard.press("Escape")
            await expect(page.locator("dialog")).to_have_count(0)
