"""Where chat templates run: Jinja's sandbox with the names that transformers gives to templates.

Templates are programs that come with models, and are not trusted: they see plain JSON values, and nothing
that they can reach changes what another request sees.
"""

import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from functools import lru_cache
from typing import Any, NoReturn

from jinja2 import Template, TemplateError, nodes
from jinja2.exceptions import SecurityError
from jinja2.ext import Extension, loopcontrols
from jinja2.parser import Parser
from jinja2.sandbox import ImmutableSandboxedEnvironment
from jinja2.utils import Namespace

_CUT = "\x02CUT HERE\x02"
_MARK = f"{_CUT} "
"""Stands at the end of a message that is to be continued while its prompt is rendered. A template that trims
messages takes the space off."""


class ContinueError(ValueError):
    """The final message cannot be continued under this template."""


def render(
    source: str, messages: Sequence[Mapping[str, Any]], variables: Mapping[str, Any], *, continue_final: bool
) -> str:
    """Render the template ``source`` over ``messages``, with ``variables`` by their names.

    With ``continue_final`` the prompt ends with the text of the last message, without what templates put
    after a message.

    Raises:
        ContinueError: The last message has no text that the template shows.
        Exception: Whatever the template raises; jinja2.TemplateError where it refuses the messages.
    """
    shown = [_with_reasoning(message) for message in messages]
    if continue_final:
        shown[-1:] = [_marked(shown[-1])] if shown else _cannot("there is none")
    prompt = compiled(source).render({"documents": None, **variables, "messages": shown})
    return _cut(prompt) if continue_final else prompt


@lru_cache(maxsize=64)
def compiled(source: str) -> Template:
    """The template, ready to run.

    Raises:
        jinja2.TemplateSyntaxError: It is none.
    """
    environment = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=[_Generation, loopcontrols]
    )
    environment.filters["tojson"] = _to_json
    environment.globals.update(
        raise_exception=_refuse, strftime_now=_now, namespace=_Namespace, dict=_make_dict
    )
    return environment.from_string(source)


class _Generation(Extension):
    """``{% generation %}`` marks what an assistant says, for training; here its body is just text."""

    tags = {"generation"}  # noqa: RUF012 # Jinja's form

    def parse(self, parser: Parser) -> nodes.Node:
        """Keep the body, in a scope of its own."""
        line = next(parser.stream).lineno
        body = parser.parse_statements(("name:endgeneration",), drop_needle=True)
        return nodes.Scope(body).set_lineno(line)


class _Namespace(Namespace):
    """Jinja's, which would let a template set attributes of Python's own."""

    def __init__(*args: Any, **values: Any) -> None:
        self, *given = args
        attributes = dict(*given, **values)
        for name in attributes:
            _check_name(name)
        Namespace.__init__(self, attributes)

    def __setitem__(self, name: str, value: Any) -> None:
        _check_name(name)
        super().__setitem__(name, value)


def _check_name(name: object) -> None:
    if isinstance(name, str) and name.startswith("_"):
        raise SecurityError(f"a template may not set {name}")


def _to_json(value: Any, ensure_ascii: bool = False, **options: Any) -> str:
    """Not Jinja's own, which is for HTML."""
    return json.dumps(value, ensure_ascii=ensure_ascii, **options)


def _refuse(message: str) -> NoReturn:
    raise TemplateError(message)


def _now(form: str) -> str:
    return datetime.now().strftime(form)


def _make_dict(*args: Any, **values: Any) -> dict[Any, Any]:
    return dict(*args, **values)


def _with_reasoning(message: Mapping[str, Any]) -> dict[str, Any]:
    """A message with its reasoning also under the name that the templates of gpt-oss read."""
    reasoning = message.get("reasoning_content")
    return dict(message) if reasoning is None else {"thinking": reasoning, **message}


def _marked(message: dict[str, Any]) -> dict[str, Any]:
    content = message.get("content")
    if isinstance(content, str):
        return {**message, "content": content + _MARK}
    if isinstance(content, list | tuple):
        for place in reversed(range(len(content))):
            part = content[place]
            if isinstance(part, Mapping) and isinstance(part.get("text"), str):
                marked = {**part, "text": part["text"] + _MARK}
                return {**message, "content": [*content[:place], marked, *content[place + 1 :]]}
    return _cannot("it has no text")


def _cut(prompt: str) -> str:
    before, found, after = prompt.rpartition(_CUT)
    if not found:
        _cannot("the template does not show its text")
    return before if after.startswith(" ") else before.rstrip()


def _cannot(why: str) -> NoReturn:
    raise ContinueError(f"the final message cannot be continued: {why}")
