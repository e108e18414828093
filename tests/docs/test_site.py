"""The site of the documents."""

import re
import shutil
import subprocess
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.docs.snippets import ROOT
from tests.mesh.processes import BIN


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """It, built strictly: a link that leads nowhere ends the building."""
    folder = tmp_path_factory.mktemp("site")
    shutil.copytree(ROOT / "docs", folder / "docs")
    shutil.copy(ROOT / "zensical.toml", folder)
    command = [str(BIN / "zensical"), "build", "--strict"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder / "build/site"


def _named(nav: object) -> Iterator[str]:
    if isinstance(nav, str):
        yield nav
    elif isinstance(nav, list):
        for each in nav:
            yield from _named(each)
    elif isinstance(nav, dict):
        for each in nav.values():
            yield from _named(each)


def test_every_page_is_in_the_contents(site: Path) -> None:
    """And each of the contents is a page; decisions have a list of their own."""
    settings = tomllib.loads((ROOT / "zensical.toml").read_text())
    pages = {path.relative_to(ROOT / "docs").as_posix() for path in (ROOT / "docs").rglob("*.md")}
    decisions = {page for page in pages if page.startswith("decisions/") and not page.endswith("README.md")}
    assert set(_named(settings["project"]["nav"])) == pages - decisions


def test_a_page_loads_nothing_from_elsewhere(site: Path) -> None:
    """No fonts, scripts or pictures of other hosts: it can be read where there is no internet."""
    for page in site.rglob("*.html"):
        text = page.read_text()
        assert not re.findall(r'<(?:script|img)[^>]+src="(?:https?:)?//[^"]+', text), page
        assert not re.findall(r'<link[^>]+rel="stylesheet"[^>]+href="(?:https?:)?//[^"]+', text), page
