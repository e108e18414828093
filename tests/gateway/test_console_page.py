"""The console's files, and who may see what."""

import re

import pytest

from inferloom_gateway.access.endpoints import is_open, of_path, opened
from inferloom_gateway.console.assets import INDEX, POLICY, assets


def test_the_page_is_small() -> None:
    """All of its files together."""
    assert sum(len(each.body) for each in assets().values()) <= 200_000
    assert {"index.html", "app.js", "base.css", "mark.svg"} <= assets().keys()


def test_nothing_is_inline_and_nothing_comes_from_elsewhere() -> None:
    """The policy would forbid it, so it must not be there; SVG has a name for itself that looks so."""
    page = assets()[INDEX].body.decode()
    assert not re.search(r"<style|\sstyle=|\son\w+=|<script(?![^>]* src=)", page)
    for name, each in assets().items():
        text = each.body.decode().replace("http://www.w3.org/2000/svg", "")
        assert not re.search(r"https?://(?!\$)", text), name
        assert not re.search(
            r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|eval\(|new Function", text
        ), name
    assert "'unsafe" not in POLICY
    assert POLICY.startswith("default-src 'none'")


def test_modules_import_what_is_there() -> None:
    """By names that the gateway serves."""
    for name, each in assets().items():
        if name.endswith(".js"):
            for wanted in re.findall(r'from "\./([\w.]+)"', each.body.decode()):
                assert wanted in assets(), f"{name} imports {wanted}"


def test_a_browser_that_has_a_file_is_told_so() -> None:
    """By its tag, also in a list and as a weak one."""
    asset = assets()["app.js"]
    assert asset.held(asset.tag)
    assert asset.held(f'"other", W/{asset.tag}')
    assert not asset.held("")


@pytest.mark.parametrize(
    ("path", "endpoint", "free"),
    [
        ("/console", "", True),
        ("/console/app.js", "", True),
        ("/console/data", "console", False),
        ("/console/data/live", "console", False),
        ("/console/data/keys", "keys", False),
        ("/console/data/keys/abc", "keys", False),
        ("/consoles", "", False),
    ],
)
def test_the_page_is_open_and_its_data_is_not(path: str, endpoint: str, free: bool) -> None:
    """Only a key that names the endpoint opens it."""
    assert of_path(path) == endpoint
    assert is_open(path) is free
    if endpoint:
        assert not opened(endpoint, ())
        assert not opened(endpoint, ("chat", "*"))
        assert opened(endpoint, ("chat", endpoint))
