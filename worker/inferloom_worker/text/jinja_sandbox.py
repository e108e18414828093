"""The environment that chat templates are written for: Jinja as transformers sets it up.

Templates come with models and are foreign code. They get strings, numbers, lists and dictionaries, and a few
functions of no consequence.
"""

import json
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from functools import lru_cache
from typing import Any

import jinja2
from jinja2 import nodes
from jinja2.ext import Extension, loopcontrols
from jinja2.parser import Parser
from jinja2.sandbox import ImmutableSandboxedEnvironment
from jinja2.utils import Namespace


@lru_cache(maxsize=32)
def compiled(source: str) -> jinja2.Template:
    """A template, ready to be rendered.

    Raises:
        jinja2.TemplateSyntaxError: It is none.
    """
    environment = _environment()
    environment.filters["tojson"] = _to_json
    functions: dict[str, Callable[..., Any]] = {
        "raise_exception": _refuse,
        "strftime_now": _now,
        "dict": _Dictionaries(),
        "namespace": _Names,
    }
    environment.globals.update(functions)
    template = environment.from_string(source)
    # A rendering copies them: of jinja's chain of two, with a search for each.
    template.globals = dict(template.globals)
    return template


def parsed(source: str) -> nodes.Template:
    """A template, to be looked at.

    Raises:
        jinja2.TemplateSyntaxError: It is none.
    """
    return _environment().parse(source)


def _environment() -> ImmutableSandboxedEnvironment:
    return ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=[_GenerationBlock, loopcontrols]
    )


class _GenerationBlock(Extension):
    """``{% generation %}``, which marks for training what the assistant said, and changes nothing."""

    tags = {"generation"}  # noqa: RUF012 - as the base class has it

    def parse(self, parser: Parser) -> nodes.Node:
        line = next(parser.stream).lineno
        body = parser.parse_statements(("name:endgeneration",), drop_needle=True)
        return nodes.Scope(body, lineno=line)


class _Dictionaries:
    """``dict``, without the class's own attributes."""

    def __call__(self, *items: Any, **named: Any) -> dict[Any, Any]:
        return dict(*items, **named)

    def fromkeys(self, keys: Iterable[Any], value: Any = None) -> dict[Any, Any]:
        """As in Python."""
        return dict.fromkeys(keys, value)


class _Names(Namespace):
    """``namespace``, which keeps no name that Python uses for itself."""

    def __init__(*args: Any, **named: Any) -> None:
        self, *values = args  # a template may name a value "self"
        given = dict(*values, **named)
        for name in given:
            _check_name(name)
        Namespace.__init__(self, given)

    def __setitem__(self, name: str, value: Any) -> None:
        _check_name(name)
        super().__setitem__(name, value)


def _check_name(name: Any) -> None:
    if str(name).startswith("_"):
        raise jinja2.TemplateError(f"a namespace cannot have the name {name!r}")


def _to_json(value: Any, **options: Any) -> str:
    """Jinja's own writes HTML's escapes. ``options`` are those of :func:`json.dumps`."""
    known: Mapping[str, Any] = {"ensure_ascii": False, "indent": None, "separators": None, "sort_keys": False}
    if unknown := options.keys() - known.keys():
        raise TypeError(f"tojson knows no {', '.join(sorted(unknown))}")
    return json.dumps(value, **{**known, **options})


def _refuse(message: str) -> None:
    raise jinja2.TemplateError(message)


def _now(form: str) -> str:
    return datetime.now().strftime(form)
