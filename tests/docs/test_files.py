"""The files and folders that pages name are there."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGES = [
    ROOT / "README.md",
    ROOT / "CONTRIBUTING.md",
    *sorted((ROOT / "docs").glob("*.md")),
    *sorted((ROOT / "docs" / "guides").glob("*.md")),
]
OURS = ("protos", "mesh", "registry", "gateway", "worker", "tools", "tests", "deploy", "docs", "examples")
NAMED = re.compile(r"`((?:[\w-]+/)*(?:[\w-]+/|[\w.-]+\.(?:py|h|cpp|js|proto|textproto|binpb|toml)))`")
"""A folder, or a file of code, with or without the folders above it."""


def short(path: str) -> str:
    """A path as pages write it: without the folder that has a service's name a second time."""
    return re.sub(r"\binferloom_(gateway|mesh|registry|worker|cli)/", "", path)


@pytest.fixture(scope="module")
def there() -> str:
    """All files and folders, each between slashes and a line end."""
    found = (path for top in OURS for path in (ROOT / top).rglob("*") if "__pycache__" not in path.parts)
    whole = [f"/{path.relative_to(ROOT)}{'/' if path.is_dir() else ''}" for path in found]
    whole += [f"/{path.name}" for path in ROOT.iterdir()]
    return "\n".join([*whole, *map(short, whole), ""])


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_what_a_page_names_is_there(page: Path, there: str) -> None:
    """As it is called today."""
    prose = re.sub(r"```.*?```", "", page.read_text(), flags=re.DOTALL)
    assert [name for name in sorted(set(NAMED.findall(prose))) if f"/{name}" not in there] == []


def test_pages_name_some() -> None:
    """So that the pattern is known to find them."""
    assert len(NAMED.findall((ROOT / "docs" / "architecture.md").read_text())) > 150
