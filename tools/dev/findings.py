"""Prove that the tests of what was found fail on the code in which it was found.

Usage: python tools/dev/findings.py [--only WORD]

Checks out the commit that was looked at, puts the tests of the commit in which all was mended beside its
sources, and runs those that ``findings.tsv`` names: one row a finding, with the tests that hold its right
value. A test that passes there proves nothing and is reported; so is one that could not be run at all.
Today's code is not run: `make test-all` does that. It takes half an hour.

The modules had moved: the moves are read from the history, and the tests' imports put in the old words.
"""

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
FOUND_IN = "672e5cc"
MOVED_IN = "dbb3516"
MENDED_IN = "cd91bfd"
"""Its tests are run. Later ones import what came after."""

LIMIT_S = 40
"""Tests that hang there hang for good."""

PACKAGES = ("protos", "mesh", "registry", "worker", "gateway", "tools")


@dataclass(frozen=True, slots=True)
class Finding:
    """One row of the table."""

    page: str
    title: str
    mended: str
    tests: tuple[str, ...]
    remark: str


def findings() -> Iterator[Finding]:
    """The rows of ``findings.tsv``."""
    for row in (ROOT / "tools/dev/findings.tsv").read_text().splitlines()[1:]:
        page, title, mended, tests, remark = (*row.split("\t"), "", "", "", "")[:5]
        yield Finding(page, title, mended, tuple(tests.split()), remark)


def moves() -> dict[str, str]:
    """The dotted names of modules today, and what they were called before."""
    git = ["git", "diff", "-M", "--name-status", FOUND_IN, MOVED_IN]
    changes = subprocess.run(git, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    found: dict[str, str] = {}
    for change in changes.splitlines():
        kind, *paths = change.split("\t")
        if kind.startswith("R") and all(path.endswith(".py") for path in paths):
            old, new = (path.removesuffix(".py").partition("/")[2].replace("/", ".") for path in paths)
            found[new] = old
    return found


def in_old_words(text: str, moved: dict[str, str]) -> str:
    """Rewrite the imports of a test."""
    names = sorted(moved, key=len, reverse=True)
    text = re.sub(rf"\b({'|'.join(map(re.escape, names))})\b", lambda match: moved[match[1]], text)
    for new, old in moved.items():
        room, name = new.rpartition(".")[::2]
        before, was = old.rpartition(".")[::2]
        alias = "" if name == was else f" as {name}"
        text = re.sub(
            rf"^(\s*)from {re.escape(room)} import {name}$",
            rf"\1from {before} import {was}{alias}",
            text,
            flags=re.MULTILINE,
        )
    return text


def prepare(tree: Path) -> None:
    """Check the old code out, with today's tests in its words, and build its kernels."""
    subprocess.run(["git", "worktree", "add", "--quiet", "--detach", tree, FOUND_IN], cwd=ROOT, check=True)
    shutil.rmtree(tree / "tests")
    subprocess.run(
        ["git", "checkout", "--quiet", MENDED_IN, "--", "tests", "pyproject.toml"], cwd=tree, check=True
    )
    moved = moves()
    for file in (tree / "tests").rglob("*.py"):
        file.write_text(in_old_words(file.read_text(), moved))
    build = [sys.executable, "worker/inferloom_worker/kernels/build.py"]
    subprocess.run(build, cwd=tree, check=True)


def outcomes(tree: Path, tests: list[str]) -> dict[str, str]:
    """Run tests on the old code; tell for each file::test, parameters left out, what became of it."""
    report = tree / "report.xml"
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(str(tree / name) for name in PACKAGES)}
    told: dict[str, str] = {}
    # A file at a time: one that cannot be imported there must not keep the others from running.
    files = list(dict.fromkeys(test.partition("::")[0] for test in tests))
    for number, file in enumerate(files, 1):
        print(f"{number} of {len(files)}: {file}", file=sys.stderr, flush=True)
        chosen = [test for test in tests if test.partition("::")[0] == file]
        command = [
            *(sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", f"--timeout={LIMIT_S}"),
            *(f"--junitxml={report}", *chosen),
        ]
        report.unlink(missing_ok=True)
        subprocess.run(command, cwd=tree, env=environment, capture_output=True, check=False)
        if not report.exists():
            continue
        for case in ElementTree.parse(report).iter("testcase"):  # pytest wrote it
            name = f"{file}::{case.get('name', '').partition('[')[0]}"
            failure = case.find("failure")
            failed = "" if failure is None else (failure.get("message") or "failed").splitlines()[0]
            if case.find("error") is not None:
                failed = "could not be run"
            told[name] = told.get(name) or failed
            if failure is None and case.find("error") is None:
                told.setdefault(name, "")
    return told


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else None)
    parser.add_argument("--only", default="", help="only rows that contain this")
    options = parser.parse_args()
    rows = [row for row in findings() if options.only in f"{row.page} {row.title}"]
    with tempfile.TemporaryDirectory() as folder:
        tree = Path(folder) / "old"
        try:
            prepare(tree)
            told = outcomes(tree, sorted({test for row in rows for test in row.tests}))
        finally:
            subprocess.run(["git", "worktree", "remove", "--force", tree], cwd=ROOT, check=False)
    weak = 0
    for row in rows:
        results = {test: told.get(test.partition("[")[0]) for test in row.tests}
        proved = any(result and result != "could not be run" for result in results.values())
        weak += bool(row.tests) and not proved
        print(
            f"{'fails' if proved else 'no test' if not row.tests else 'PASSES':>8}  {row.page}: {row.title}"
        )
        for test, result in results.items():
            print(f"{'':10}{test}: {result if result else 'passes there' if result == '' else 'not run'}")
        if row.remark:
            print(f"{'':10}{row.remark}")
    print(f"{len(rows)} findings, {weak} of them without a test that fails on {FOUND_IN}")
    sys.exit(bool(weak))


if __name__ == "__main__":
    main()
