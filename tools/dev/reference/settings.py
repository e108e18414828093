"""Every setting of every service as a page: its name, its default, and what its docstring says."""

import ast
import inspect
import textwrap
from collections.abc import Iterator

from pydantic.fields import FieldInfo

from inferloom_cli.client_settings import ClientSettings
from inferloom_cli.key_settings import KeySettings
from inferloom_gateway.settings import GatewaySettings
from inferloom_mesh.net import Address
from inferloom_mesh.settings import ServiceSettings
from inferloom_registry.settings import RegistrySettings
from inferloom_worker.settings import WorkerSettings

_ABOUT = """# Settings

*Made by `make protos` of the services' settings.*

Each is a line of `inferloom.toml`, `INFERLOOM_` with its name in capitals in the environment, and where
people type it a flag, of which `--help` tells. A flag goes before the environment, and that before the file.
A name that no service knows is refused.
"""

_KINDS: tuple[tuple[str, type[ServiceSettings]], ...] = (
    ("Of every service", ServiceSettings),
    ("The registry", RegistrySettings),
    ("The gateway", GatewaySettings),
    ("The worker", WorkerSettings),
    ("Commands that ask a mesh", ClientSettings),
    ("`inferloom keys`", KeySettings),
)


def page() -> str:
    """The page, as Markdown."""
    shared = _told(ServiceSettings)
    lines = [_ABOUT]
    for title, kind in _KINDS:
        told = shared if kind is ServiceSettings else {**shared, **_told(kind)}
        own = [name for name in told if kind is ServiceSettings or name in _told(kind)]
        lines += [f"## {title}", "", "| setting | default | |", "| --- | --- | --- |"]
        lines += [f"| `{name}` | {_default(kind.model_fields[name])} | {_cell(told[name])} |" for name in own]
        lines.append("")
    return "\n".join(lines).rstrip() + "\n"


def _told(kind: type[ServiceSettings]) -> dict[str, str]:
    """What is said below each field of a class itself."""
    return dict(_pairs(ast.parse(textwrap.dedent(inspect.getsource(kind))).body[0]))


def _pairs(tree: ast.stmt) -> Iterator[tuple[str, str]]:
    assert isinstance(tree, ast.ClassDef)
    for statement, after in zip(tree.body, tree.body[1:], strict=False):
        if isinstance(statement, ast.AnnAssign) and isinstance(statement.target, ast.Name):
            said = after.value.value if _is_text(after) else ""  # type: ignore[attr-defined] # a docstring
            yield statement.target.id, " ".join(str(said).split())


def _is_text(statement: ast.stmt) -> bool:
    return (
        isinstance(statement, ast.Expr)
        and isinstance(statement.value, ast.Constant)
        and isinstance(statement.value.value, str)
    )


def _default(field: FieldInfo) -> str:
    value = field.get_default(call_default_factory=True, validated_data={})
    if value is None or value in ((), "", []):
        return "not set"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, tuple | list) and not isinstance(value, Address):
        value = ", ".join(map(str, value))
    return f"`{value}`"


def _cell(text: str) -> str:
    return text.replace("``", "`").replace("|", "\\|")
