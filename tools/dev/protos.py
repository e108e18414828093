"""Generate what is made of the .proto files, or check that it is up to date: the Python stubs beside them,
the parameter table and its page; and the reference pages, of the contract, the settings and the commands.

Usage: python tools/dev/protos.py [--check]
"""

import filecmp
import sys
import tempfile
from pathlib import Path

from parameter_files import markdown, python
from parameter_rows import REST, ROOT, Source, TableError, endpoints, run_protoc
from reference import commands, contract, settings

PROJECT = ROOT.parent
TABLE, PAGE = Path("inferloom/parameters.py"), Path("docs/parameters.md")
REFERENCE = Path("docs/reference")
PAGES = {"contract.md": contract.page, "settings.md": settings.page, "commands.md": commands.page}


def generate(out: Path) -> None:
    """Write the message, service and type stubs of every proto under ``out``."""
    run_protoc(
        *(f"--{kind}={out}" for kind in ("python_out", "grpc_python_out", "mypy_out", "mypy_grpc_out"))
    )


def tabulate(table: Path, page: Path) -> None:
    """Write the parameter table and its page."""
    source = Source.compiled()
    rest = source.table(REST.read_text(encoding="utf-8"))
    requests = dict.fromkeys(each.request for each in rest.endpoints)
    fields = [field for request in requests for field in source.fields(request)]
    try:
        served = endpoints(rest, fields)
    except TableError as failure:
        sys.exit(str(failure))
    table.write_text(python(fields, served), encoding="utf-8")
    page.write_text(markdown(fields, served), encoding="utf-8")


def refer(folder: Path) -> None:
    """Write the reference pages into ``folder``."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, page in PAGES.items():
        (folder / name).write_text(page(), encoding="utf-8")


def stale(fresh: Path) -> list[str]:
    """Name the generated files that differ from the committed ones."""
    made = {p.relative_to(fresh) for p in fresh.rglob("*_pb2*.py*")}
    kept = {p.relative_to(ROOT) for p in ROOT.rglob("*_pb2*.py*") if "__pycache__" not in p.parts}
    differ = {p for p in made & kept if not filecmp.cmp(fresh / p, ROOT / p, shallow=False)}
    tables = (
        (fresh / TABLE.name, ROOT / TABLE),
        (fresh / PAGE.name, PROJECT / PAGE),
        *((fresh / REFERENCE / name, PROJECT / REFERENCE / name) for name in PAGES),
    )
    differ |= {kept for new, kept in tables if not kept.exists() or not filecmp.cmp(new, kept, shallow=False)}
    return sorted(map(str, (made ^ kept) | differ))


def main() -> None:
    if "--check" not in sys.argv:
        generate(ROOT)
        tabulate(ROOT / TABLE, PROJECT / PAGE)
        refer(PROJECT / REFERENCE)
        return
    with tempfile.TemporaryDirectory() as folder:
        generate(Path(folder))
        tabulate(Path(folder) / TABLE.name, Path(folder) / PAGE.name)
        refer(Path(folder) / REFERENCE)
        if names := stale(Path(folder)):
            sys.exit("generated files are stale, run `make protos`: " + ", ".join(names))


if __name__ == "__main__":
    main()
