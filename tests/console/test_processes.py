"""The console in front of real processes: what happens to them is seen while it happens."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from playwright.sync_api import Page, expect, sync_playwright

from tests.console.conftest import chromium
from tests.mesh.processes import Mesh, Running
from tests.patience import PATIENCE_S

pytestmark = [pytest.mark.slow, pytest.mark.timeout(240)]


@pytest.fixture
def mesh(tmp_path: Path) -> Iterator[Mesh]:
    """Two workers, whose answers take seconds."""
    made = Mesh(tmp_path / "up", "--workers", "1", "--model", "chat=echo:delay_ms=60")
    yield made
    made.close()


@pytest.fixture
def page(mesh: Mesh) -> Iterator[Page]:
    """A tab with the console."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium(), args=["--no-sandbox"])
        made = browser.new_page(viewport={"width": 1280, "height": 800})
        made.goto(f"http://{mesh.made['rest']}/console")
        yield made
        browser.close()


def test_a_worker_joins_and_is_killed_under_an_answer(mesh: Mesh, page: Page, tmp_path: Path) -> None:
    """The mesh shows both, the answer goes on, and its story tells of the move."""
    expect(page.locator(".worker")).to_have_count(1)
    expect(page.locator(".worker .pill")).to_have_text("Ready")
    worker = Running(
        tmp_path / "worker",
        "worker",
        "--id",
        "second",
        "--model",
        "chat=echo:delay_ms=60",
        "--listen",
        "127.0.0.1:0",
        "--registry",
        mesh.registry,
    )
    try:
        expect(page.locator(".worker")).to_have_count(2)
        expect(page.locator(".worker").filter(has_text="second").locator(".pill")).to_have_text("Ready")
        expect(page.locator(".feed")).to_contain_text("second takes requests")
        page.get_by_role("link", name="Playground").click()
        page.get_by_text("More", exact=True).click()
        text = " ".join(f"word{number}" for number in range(24))
        for number in range(8):  # until the new one has one
            page.get_by_role("button", name="New conversation").click()
            page.get_by_label("Message").fill(f"{number} {text}")
            page.keyboard.press("Enter")
            expect(page.locator(".turn.assistant .said").nth(1)).to_contain_text("word")
            page.get_by_role("link", name="Requests").click()
            row = page.locator("#requests tbody tr").first
            expect(row).to_contain_text("Running")
            if "second" in row.inner_text():
                break
            page.get_by_role("link", name="Playground").click()
        else:
            raise AssertionError("the new worker got no request")
        worker.process.kill()
        expect(row).to_contain_text("moved once")
        expect(row).to_contain_text("Done")
        row.get_by_role("link").click()
        expect(page.locator(".story")).to_contain_text("behind token")
        page.get_by_role("link", name="Playground").click()
        expect(page.locator(".turn.assistant .said").nth(1)).to_contain_text(text)
        page.get_by_role("link", name="Mesh").click()
        expect(page.locator(".feed")).to_contain_text("moved from second")
        expect(page.locator(".worker")).to_have_count(1)
        expect(page.locator(".feed")).to_contain_text("second is gone")
    finally:
        worker.close()


def test_all_processes_of_a_gateway_are_shown(tmp_path: Path) -> None:
    """Whichever answers the page: both are in the mesh, and requests to either are listed."""
    mesh = Mesh(tmp_path / "up", "--gateway-processes", "2", "--model", "chat=echo")
    try:
        wanted = {f"asked-{number}" for number in range(12)}
        for name in wanted:  # each over a connection of its own, which the kernel deals out
            body = {"model": "chat", "messages": [{"role": "user", "content": name}]}
            headers = {"x-request-id": name}
            httpx.post(f"{mesh.base_url}/chat/completions", json=body, headers=headers).raise_for_status()
        picture: dict[str, dict[str, Any]] = {}
        with httpx.stream(
            "GET", f"http://{mesh.made['rest']}/console/data/live", timeout=PATIENCE_S
        ) as answer:
            for line in answer.iter_lines():
                if not line.startswith("data: "):
                    continue
                for section, rows in json.loads(line[6:]).items():
                    held = picture.setdefault(section, {})
                    held.update(rows)
                    for gone in [key for key, row in rows.items() if row is None]:
                        del held[gone]
                listed = {row["id"] for row in picture["requests"].values()}
                if len(picture["processes"]) == 2 and wanted <= listed:
                    break
        story = httpx.get(f"http://{mesh.made['rest']}/console/data/request", params={"id": "asked-0"})
        assert story.json()["records"][0]["state"] == "done"
    finally:
        mesh.close()
