"""A real Chromium, and the console's page in it."""

import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest_asyncio
from playwright.async_api import Browser, Page, async_playwright, expect
from playwright.sync_api import expect as expect_sync

from tests.patience import PATIENCE_S

expect.set_options(timeout=PATIENCE_S * 1e3)
expect_sync.set_options(timeout=PATIENCE_S * 1e3)

WIDE, NARROW = {"width": 1280, "height": 800}, {"width": 390, "height": 844}

_REFUSED = "Failed to load resource: the server responded with a status of 4"
"""What the browser says of every refusal, which the page shows."""

_CHROMIUM = ("chromium", "chromium-browser", "google-chrome")


def chromium() -> str:
    """The system's Chromium, which `.ci/run` installs; elsewhere: `apt-get install chromium`."""
    found = next(filter(None, map(shutil.which, _CHROMIUM)), None)
    assert found is not None, "these tests drive a real Chromium: install one"
    return found


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def browser() -> AsyncIterator[Browser]:
    """Without a window."""
    async with async_playwright() as playwright:
        running = await playwright.chromium.launch(executable_path=chromium(), args=["--no-sandbox"])
        yield running
        await running.close()


@dataclass
class Shown:
    """The console in a tab, and what its browser complained of."""

    page: Page
    complaints: list[str] = field(default_factory=list)

    async def view(self, name: str) -> None:
        """Go to a view by its link."""
        await self.page.get_by_role("link", name=name, exact=True).click()


@asynccontextmanager
async def shown(browser: Browser, rest: object, path: str = "", **options: Any) -> AsyncIterator[Shown]:
    """The console of the gateway at ``rest``. Whatever the browser complains of, such as what the page's
    policy forbids, fails the test."""
    context = await browser.new_context(**{"viewport": WIDE, **options})
    context.set_default_timeout(PATIENCE_S * 1e3)
    page = await context.new_page()
    tab = Shown(page)

    def complain(kind: str, text: str) -> None:
        if kind == "error" and not text.startswith(_REFUSED):
            tab.complaints.append(text)

    page.on("pageerror", lambda error: tab.complaints.append(str(error)))
    page.on("console", lambda said: complain(said.type, said.text))
    page.on("dialog", lambda box: tab.complaints.append(f"a dialog: {box.message}"))
    await page.goto(f"http://{rest}/console{path}")
    try:
        yield tab
    finally:
        await context.close()
    assert not tab.complaints
