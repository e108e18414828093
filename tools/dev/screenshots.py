"""Takes the pictures of the console that the documents show, of a real mesh under real traffic.

Usage: python tools/dev/screenshots.py [FOLDER]

FOLDER is docs/images unless another is named. Runs `inferloom up` with the demo models, two workers and
keys; a third worker joins and is killed while it answers. Needs Chromium, and a minute more than the mesh
takes to start. A picture of over 150 KB is an error.
"""

import json
import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from secrets import token_hex
from tempfile import TemporaryDirectory
from typing import Any

from openai import OpenAI, OpenAIError
from picturing.small_png import shrink
from playwright.sync_api import Browser, Page, ViewportSize, expect, sync_playwright

IMAGES = Path(__file__).parents[2] / "docs/images"
MOST_BYTES = 150_000
START_LIMIT_S = 240
MODEL = "smollm2-135m-instruct"
EMBEDDER = "all-minilm-l6-v2"
WIDE: ViewportSize = {"width": 1280, "height": 800}
NARROW: ViewportSize = {"width": 390, "height": 844}

COMMAND = [sys.executable, "-m", "inferloom_cli"]
ANY_PORTS = ["--port", "0", "--grpc-port", "0", "--registry-port", "0", "--worker-port", "0"]

QUESTIONS = (
    "What is the capital of France?",
    "Tell me a story about a river.",
    "Explain what a loom does.",
    "Name three fish, and say where they live.",
    "Write a short poem about rain.",
    "How does one make bread?",
)

SCHEMA = {
    "type": "object",
    "properties": {"city": {"type": "string"}, "country": {"type": "string"}},
    "required": ["city", "country"],
}


class Mesh:
    """A mesh in ``folder``, with a key that opens everything."""

    def __init__(self, folder: Path, stack: ExitStack) -> None:
        self.folder = folder
        secret = {"INFERLOOM_MESH_SECRET": token_hex(16), "INFERLOOM_GATEWAY_NAME": "gateway-1"}
        kept = {name: value for name, value in os.environ.items() if not name.startswith("INFERLOOM_")}
        kept |= {n: v for n, v in os.environ.items() if n == "INFERLOOM_CACHE_DIR"}
        self.environment = {**kept, **secret, "INFERLOOM_STORE": str(folder / "store")}
        scopes = ("console", "keys", "chat", "models", "embeddings")
        self.key = self.make_key("operations", "console", *scopes)
        self.make_key("shop", "assistant", "chat", "models", limits=("--rpm", "600", "--tpm", "200000"))
        self.make_key("research", "notebooks", limits=("--concurrent", "4"))
        self.inferloom("keys", "limit", "tenant", "shop", "--tpm", "2000000", "--share", "2")
        self.inferloom("keys", "limit", "model", "smollm*", "--concurrent", "32")
        models = [part for name in (MODEL, EMBEDDER) for part in ("--model", name)]
        self.run("up", *ANY_PORTS, "--workers", "2", *models, "--keys", "keys.db", stack=stack)
        ready = self.report("up")
        self.rest, self.registry = ready["rest"], ready["registry"]

    def make_key(self, tenant: str, name: str, *scopes: str, limits: Sequence[str] = ()) -> str:
        """Make a key; return all of it."""
        opens = [part for scope in scopes for part in ("--endpoint", scope)]
        return self.inferloom("keys", "create", "--tenant", tenant, "--name", name, *opens, *limits)

    def inferloom(self, *args: str) -> str:
        """What a command of ours about keys says."""
        done = subprocess.run(
            [*COMMAND, *args, "--keys", "keys.db"],
            cwd=self.folder,
            env=self.environment,
            check=True,
            stdout=subprocess.PIPE,
            text=True,
        )
        return done.stdout.strip()

    def run(self, name: str, *args: str, stack: ExitStack) -> subprocess.Popen[bytes]:
        """Start a command of ours, which is stopped with the stack."""
        output = stack.enter_context((self.folder / f"{name}.log").open("wb"))
        ready = ["--ready-file", str(self.folder / f"{name}.json")]
        process = subprocess.Popen(
            [*COMMAND, name, *args, *ready],
            cwd=self.folder,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
        )

        def stop() -> None:
            process.terminate()
            process.wait(60)

        stack.callback(stop)
        return process

    def report(self, name: str) -> Any:
        """What a command says in its file when it is ready."""
        file, deadline = self.folder / f"{name}.json", time.monotonic() + START_LIMIT_S
        while not file.exists():
            if time.monotonic() > deadline:
                raise SystemExit((self.folder / f"{name}.log").read_text())
            time.sleep(0.1)
        return json.loads(file.read_text())

    @contextmanager
    def traffic(self) -> Iterator[None]:
        """Ask, four at a time, until the block ends."""
        ended = threading.Event()

        def ask(first: int) -> None:
            with OpenAI(base_url=f"http://{self.rest}/v1", api_key=self.key, max_retries=0) as client:
                number = first
                while not ended.is_set():
                    question = f"{QUESTIONS[number % len(QUESTIONS)]} Use about {number + 20} words."
                    said: Any = [{"role": "user", "content": question}]
                    number += 7
                    try:
                        if number % 5 == 0:
                            client.embeddings.create(model=EMBEDDER, input=said[0]["content"])
                        for _ in client.chat.completions.create(
                            model=MODEL, messages=said, max_tokens=160, stream=True
                        ):
                            pass
                    except OpenAIError as failure:
                        print(failure, file=sys.stderr)

        threads = [threading.Thread(target=ask, args=(100 * number,)) for number in range(4)]
        for thread in threads:
            thread.start()
        try:
            yield
        finally:
            ended.set()
            for thread in threads:
                thread.join()


class Camera:
    """Takes pictures of the console of one mesh."""

    def __init__(self, browser: Browser, mesh: Mesh, folder: Path) -> None:
        self._browser = browser
        self._mesh = mesh
        self._folder = folder
        self.taken: list[Path] = []

    @contextmanager
    def page(self, scheme: Any, size: ViewportSize) -> Iterator[Page]:
        """A tab that shows the key."""
        context = self._browser.new_context(viewport=size, color_scheme=scheme, reduced_motion="reduce")
        page = context.new_page()
        page.add_init_script(f"sessionStorage.setItem('inferloom-key', {json.dumps(self._mesh.key)})")
        page.goto(f"http://{self._mesh.rest}/console")
        expect(page.locator(".worker .pill").first).to_have_text("Ready", timeout=30_000)
        yield page
        context.close()

    def take(self, page: Page, name: str) -> None:
        """Keep a picture of what is seen."""
        page.evaluate("window.scrollTo(0, 0)")
        file = self._folder / f"console-{name}.png"
        page.screenshot(path=file)
        shrink(file)
        if file.stat().st_size > MOST_BYTES:
            raise SystemExit(f"{file} has {file.stat().st_size} bytes, over {MOST_BYTES}")
        self.taken.append(file)


def talk(page: Page) -> None:
    """Have a short conversation in the playground, whose answer must fit a schema."""
    page.get_by_role("link", name="Playground").click()
    page.get_by_text("Schema of the answer").click()
    page.get_by_label("JSON Schema").fill(json.dumps(SCHEMA, indent=1))
    page.get_by_label("Temperature").fill("0")
    page.get_by_label("Message").fill("Which city is the capital of France?")
    page.keyboard.press("Enter")
    expect(page.locator(".turn.assistant .foot")).to_contain_text("in all", timeout=60_000)
    page.evaluate("document.activeElement.blur()")


def open_moved(page: Page) -> None:
    """Open the story of a request that moved, or else of the last one that ended."""
    page.get_by_role("link", name="Requests").click()
    moved = page.locator("#requests tbody tr").filter(has_text="moved")
    done = page.locator("#requests tbody tr").filter(has_text="Done")
    (moved if moved.count() else done).first.get_by_role("link").click()
    expect(page.locator(".story")).to_contain_text("accepted after")


def lose_a_worker(mesh: Mesh, page: Page) -> None:
    """Let a third worker join, and kill it once it answers."""
    with ExitStack() as stack:
        args = ("--id", "worker-3", "--model", MODEL, "--listen", "127.0.0.1:0", "--registry", mesh.registry)
        worker = mesh.run("worker", *args, stack=stack)
        card = page.locator(".worker").filter(has_text="worker-3")
        expect(card.locator(".pill")).to_have_text("Ready", timeout=START_LIMIT_S * 1000)
        expect(card.locator(".meter").first).not_to_contain_text("0 of", timeout=60_000)
        time.sleep(1)
        worker.kill()
        expect(page.locator(".feed")).to_contain_text("moved from worker-3", timeout=30_000)
        expect(card).to_have_count(0, timeout=30_000)


def main() -> None:
    """Take them all."""
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else IMAGES
    folder.mkdir(parents=True, exist_ok=True)
    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    if chromium is None:
        raise SystemExit("Chromium is needed: apt-get install chromium")
    with ExitStack() as stack:
        mesh = Mesh(Path(stack.enter_context(TemporaryDirectory(prefix="inferloom-pictures-"))), stack)
        playwright = stack.enter_context(sync_playwright())
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        stack.callback(browser.close)
        camera = Camera(browser, mesh, folder)
        with mesh.traffic():
            with camera.page("light", WIDE) as page:
                lose_a_worker(mesh, page)
                page.wait_for_timeout(10_000)
                camera.take(page, "mesh-light")
                open_moved(page)
                camera.take(page, "request-light")
            with camera.page("dark", WIDE) as page:
                page.wait_for_timeout(12_000)
                camera.take(page, "mesh-dark")
            with camera.page("light", NARROW) as page:
                page.wait_for_timeout(6_000)
                camera.take(page, "mesh-narrow")
        with camera.page("light", WIDE) as page:
            talk(page)
            camera.take(page, "playground-light")
            page.get_by_role("link", name="Keys").click()
            expect(page.locator("#keys tbody tr").first).to_be_visible()
            camera.take(page, "keys-light")
    for file in camera.taken:
        print(f"{file} {file.stat().st_size // 1000} KB")


if __name__ == "__main__":
    main()
