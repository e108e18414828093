"""The console in a real browser, in front of a whole mesh with the echo engine."""

import asyncio
import json
import re
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from axe_playwright_python.async_playwright import Axe
from playwright.async_api import Browser, Page, Route, expect

from tests.console.conftest import NARROW, WIDE, Shown, shown
from tests.mesh.processes import messages
from tests.patience import PATIENCE_S
from tests.wire.echo_mesh import EchoMesh, echo_mesh
from tests.wire.running_worker import running_worker

pytestmark = pytest.mark.asyncio(loop_scope="session")

MARKUP = "<img src=x onerror=alert(1)><b>bold</b>"
AWKWARD = 'it\'s "quoted" \\ and $HOME `x` – ü'
GROWTH = """() => {
    window.grown = new Set();
    const look = () => grown.add(document.querySelectorAll(".turn.assistant .said")[1]?.textContent.length);
    new MutationObserver(look).observe(document.querySelector(".talk"), {childList: true, subtree: true});
}"""
HELLO: list[Any] = [{"role": "user", "content": "Hello there"}]


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def mesh() -> AsyncIterator[EchoMesh]:
    """One worker."""
    async with echo_mesh("chat=echo:delay_ms=5") as running:
        async with asyncio.timeout(PATIENCE_S):
            while (await running.http.get("/health")).status_code != 200:
                pass  # what happens before the registry has settled is not told
        yield running


@pytest_asyncio.fixture(loop_scope="session")
async def console(browser: Browser, mesh: EchoMesh) -> AsyncIterator[Shown]:
    """A tab with the console."""
    async with shown(browser, mesh.rest) as tab:
        yield tab


async def say(page: Page, text: str) -> None:
    """Send a message in the playground, and wait for the end of its answer."""
    await page.get_by_label("Message").fill(text)
    await page.keyboard.press("Enter")
    await expect(page.locator(".turn.assistant .foot").last).to_contain_text("in all")


async def test_the_mesh_moves(console: Shown, mesh: EchoMesh) -> None:
    """Workers come and go, and requests are counted, while one looks."""
    page = console.page
    await expect(page.locator(".worker")).to_have_count(1)
    await expect(page.locator(".worker .pill")).to_have_text("Ready")
    await expect(page.get_by_role("status").first).to_have_text("Live")
    async with running_worker("chat=echo", registry=str(mesh.registry)):
        await expect(page.locator(".worker")).to_have_count(2)
        await expect(page.locator(".feed li").first).to_be_visible()
    await expect(page.locator(".worker")).to_have_count(1)
    await expect(page.locator(".feed")).to_contain_text("is gone")
    async with mesh.openai() as client:
        await client.chat.completions.create(model="chat", messages=HELLO)
    await expect(page.locator(".figure").filter(has_text="First token")).to_contain_text("ms")


async def test_an_answer_is_streamed_and_its_story_told(console: Shown) -> None:
    """The playground shows an answer while it comes, and who gave it; the inspector tells of its parts."""
    page = console.page
    await console.view("Playground")
    await page.evaluate(GROWTH)
    await page.get_by_label("Message").fill("one two three four five six seven eight")
    await page.keyboard.press("Enter")
    said = page.locator(".turn.assistant .said").nth(1)
    await expect(page.locator(".turn.assistant .foot")).to_contain_text("in all")
    assert await page.evaluate("grown.size") > 5, "it came at once"
    await expect(said).to_contain_text("seven eight")
    await expect(page.locator(".turn.assistant .foot")).to_contain_text("first token")
    await page.get_by_role("link", name="story").click()
    story = page.locator(".story")
    for told in ("Done", "Queue", "Prefill", "Decode", "Attempt", "accepted after", "The router saw"):
        await expect(story).to_contain_text(told)
    await expect(story.locator(".time-row").first).to_be_visible()


async def test_text_is_text(console: Shown, mesh: EchoMesh) -> None:
    """Markup in a message, an answer, a model's name and an error is shown as it is written."""
    page = console.page
    await console.view("Playground")
    await say(page, MARKUP)
    await expect(page.locator(".turn.assistant .said").nth(1)).to_contain_text(MARKUP)
    await page.get_by_text("More", exact=True).click()
    await page.get_by_label("Any other fields, as JSON").fill(f'{{"model": "{MARKUP}"}}')
    await page.get_by_label("Message").fill("again")
    await page.keyboard.press("Enter")
    await expect(page.locator(".turn .why").last).to_contain_text(MARKUP)
    await console.view("Requests")
    await expect(page.get_by_role("cell", name=MARKUP)).to_be_visible()
    await page.get_by_label("Show requests with").fill("<b>none</b>")
    await page.get_by_role("button", name="Open by name").click()
    await expect(page.locator(".story .why")).to_contain_text("<b>none</b>")
    assert not await page.locator("img[src=x], main b").count()


async def copied(page: Page, kind: str) -> str:
    """What the playground shows of its request."""
    await page.get_by_role("tab", name=kind, exact=True).click()
    code = page.locator("#snippet")
    await expect(code).to_contain_text(
        {"curl": "curl -N", "Python": "OpenAI(", "grpcurl": "grpcurl -plaintext"}[kind]
    )
    await expect(code).to_contain_text("quoted")
    return await code.inner_text()


async def run(*command: str, cwd: Path) -> str:
    """Run what was pasted; it must succeed."""
    bin_dir = Path(sys.executable).parent
    process = await asyncio.create_subprocess_exec(
        *command,
        cwd=cwd,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env={"PATH": f"{bin_dir}:/usr/bin:/bin", "HOME": str(cwd)},
    )
    out, err = await process.communicate()
    assert process.returncode == 0, err.decode()
    return out.decode()


async def test_what_is_shown_works_when_it_is_pasted(console: Shown, tmp_path: Path) -> None:
    """curl, Python and grpcurl send the playground's request, whatever is quoted in it."""
    page = console.page
    await console.view("Playground")
    await page.get_by_text("Tools", exact=True).click()
    await page.get_by_role("button", name="Example, or none").first.click()
    await page.get_by_label("Tool choice").select_option("none")
    await page.get_by_text("More", exact=True).click()
    await page.get_by_label("Any other fields, as JSON").fill('{"top_k": 20, "logprobs": null}')
    await page.get_by_label("Message").fill(AWKWARD)
    answers = await run("bash", "-c", await copied(page, "curl"), cwd=tmp_path)
    pieces = re.findall(r'"content":("(?:[^"\\]|\\.)*")', answers)
    assert AWKWARD in "".join(map(json.loads, pieces))
    code = await copied(page, "Python")
    assert 'extra_body={"top_k": 20' in code.replace("\n", "")
    assert AWKWARD in await run(sys.executable, "-c", code, cwd=tmp_path)
    grpc = await run("bash", "-c", await copied(page, "grpcurl"), cwd=tmp_path)
    assert AWKWARD in "".join(each.get("delta", {}).get("text", "") for each in messages(grpc))


async def test_tools_are_called_and_answered(browser: Browser, mesh: EchoMesh) -> None:
    """A call of a tool is shown with its arguments, and goes on with what a person gives back."""
    asked: list[Any] = []
    call = {
        "index": 0,
        "id": "call_1",
        "type": "function",
        "function": {"name": "get_weather", "arguments": '{"city"'},
    }
    more = {"index": 0, "function": {"arguments": ': "Paris"}'}}

    def chunk(delta: dict[str, Any], reason: str | None = None) -> str:
        return f"data: {json.dumps({'choices': [{'index': 0, 'delta': delta, 'finish_reason': reason}]})}\n\n"

    async def answer(route: Any) -> None:
        asked.append(route.request.post_data_json)
        parts = (
            [chunk({"role": "assistant", "tool_calls": [call]}), chunk({"tool_calls": [more]}, "tool_calls")]
            if len(asked) == 1
            else [chunk({"content": "It is "}), chunk({"content": "sunny."}, "stop")]
        )
        await route.fulfill(body="".join([*parts, "data: [DONE]\n\n"]), content_type="text/event-stream")

    async with shown(browser, mesh.rest, "#/playground") as tab:
        page = tab.page
        await page.route("**/v1/chat/completions", answer)
        await page.get_by_label("Message").fill("What is the weather in Paris?")
        await page.keyboard.press("Enter")
        await expect(page.locator(".call")).to_contain_text('{"city": "Paris"}')
        await page.get_by_label("Result of get_weather").fill("sunny")
        await page.keyboard.press("Enter")
        await expect(page.locator(".turn.assistant").last).to_contain_text("It is sunny.")
    said = asked[1]["messages"]
    assert [each["role"] for each in said] == ["user", "assistant", "tool"]
    assert said[1]["tool_calls"][0]["function"] == {"name": "get_weather", "arguments": '{"city": "Paris"}'}
    assert said[2] == {"role": "tool", "tool_call_id": "call_1", "content": "sunny"}


async def test_a_message_waits_for_the_list_of_models(console: Shown) -> None:
    """It goes to a model, however slow the list is."""
    page, sent = console.page, asyncio.Event()

    async def slow(route: Route) -> None:
        await sent.wait()
        await route.continue_()

    await page.route("**/v1/models", slow)
    await page.keyboard.press("2")
    await page.get_by_label("Message").fill("early")
    await page.keyboard.press("Enter")
    await expect(page.get_by_role("button", name="Stop")).to_be_visible()
    sent.set()
    await expect(page.locator(".turn.assistant .foot")).to_contain_text("story")
    await page.unroute("**/v1/models")


async def test_everything_is_reached_by_the_keyboard(console: Shown) -> None:
    """Views, a conversation, its story, the theme and the list of shortcuts, without a mouse."""
    page = console.page
    await page.keyboard.press("Tab")
    await expect(page.get_by_role("link", name="Skip to the content")).to_be_focused()
    await page.keyboard.press("2")
    await expect(page.get_by_label("Message")).to_be_visible()  # a view is fetched when it is first opened
    await page.keyboard.press("/")
    await expect(page.get_by_label("Message")).to_be_focused()
    await page.keyboard.type("by keyboard")
    await page.keyboard.press("Enter")
    await expect(page.locator(".turn.assistant .foot")).to_contain_text("in all")
    await page.locator(".turn.assistant .foot").get_by_role("link", name="story").focus()
    await page.keyboard.press("Enter")
    await expect(page.locator(".story")).to_contain_text("Attempt")
    await expect(page.locator(".story")).to_be_focused()
    await page.keyboard.press("t")
    await expect(page.locator("html")).to_have_attribute("data-theme", "light")
    await page.keyboard.press("?")
    await expect(page.get_by_role("dialog")).to_contain_text("New conversation")
    await page.keyboard.press("Escape")
    await expect(page.get_by_role("dialog")).to_have_count(0)
    for key, name in (("1", "Mesh"), ("3", "Requests"), ("4", "Keys")):
        await page.keyboard.press(key)
        await expect(page.get_by_role("link", name=name, exact=True)).to_have_attribute(
            "aria-current", "page"
        )
    seen = []
    for _ in range(12):
        await page.keyboard.press("Tab")
        outline = "(e => [e.tagName, getComputedStyle(e).outlineStyle])(document.activeElement)"
        seen.append(await page.evaluate(outline))
    assert all(style != "none" for tag, style in seen if tag != "BODY"), seen


@pytest.mark.parametrize(
    ("scheme", "size"),
    [
        pytest.param("light", WIDE, id="light wide", marks=pytest.mark.slow),
        pytest.param("dark", NARROW, id="dark narrow"),
        pytest.param("dark", WIDE, id="dark wide", marks=pytest.mark.slow),
        pytest.param("light", NARROW, id="light narrow", marks=pytest.mark.slow),
    ],
)
async def test_axe_finds_nothing_serious(browser: Browser, mesh: EchoMesh, scheme: str, size: Any) -> None:
    """In any view, and nothing is wider than its screen."""
    async with shown(browser, mesh.rest, color_scheme=scheme, viewport=size) as tab:
        page = tab.page
        await expect(page.locator(".worker")).to_have_count(1)
        for view in ("Mesh", "Playground", "Requests", "Keys"):
            await tab.view(view)
            if view == "Playground":
                await say(page, "Hello")
            if view == "Requests":
                await page.locator("#requests tbody a").first.click()
                await expect(page.locator(".story")).to_contain_text("Attempt")
            if view == "Keys":
                await expect(page.locator("#keys")).to_contain_text("inferloom keys create --keys keys.db")
            found = (await Axe().run(page)).response["violations"]
            grave = [
                f"{view}: {each['id']} at {each['nodes'][0]['target']}"
                for each in found
                if each["impact"] in ("serious", "critical")
            ]
            assert not grave
            assert await page.evaluate("document.documentElement.scrollWidth <= innerWidth"), (
                f"{view} is too wide"
            )


@pytest.mark.slow
async def test_the_first_paint_is_soon(browser: Browser, mesh: EchoMesh) -> None:
    """Half a second, the best of three: machines are busy. The page is at most 200 KB, of its own."""
    paints = []
    for _ in range(3):
        async with shown(browser, mesh.rest) as tab:
            await expect(tab.page.locator(".worker")).to_have_count(1)
            script = "performance.getEntriesByName('first-contentful-paint')[0].startTime"
            paints.append(await tab.page.evaluate(script))
            files = "performance.getEntriesByType('resource').map(each => [each.name, each.decodedBodySize])"
            asked = await tab.page.evaluate(files)
            assert len(asked) > 10
            assert sum(size for _, size in asked) < 200_000
            assert all(url.startswith(f"http://{mesh.rest}/console") for url, _ in asked), asked
    assert min(paints) <= 500, paints
