"""What an answer must conform to: its own grammar, and that of calls that may or must be in it. Blocking."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from inferloom.v1 import inference_pb2 as pb
from inferloom_mesh.errors import InferloomError, unsupported
from inferloom_worker.constrain.grammar import Ending, Grammar, GrammarConstraint, Kind
from inferloom_worker.constrain.patterns import together
from inferloom_worker.constrain.schema import enforced_schema, malformed
from inferloom_worker.constrain.schema_closing import closed_object
from inferloom_worker.constrain.schema_counting import COUNTED_TWICE
from inferloom_worker.constrain.schema_forms import well_formed
from inferloom_worker.constrain.source import source
from inferloom_worker.engine.constraint import Constraint
from inferloom_worker.hosting.dialect import Dialect, calling
from inferloom_worker.output.calls.form import ToolForm
from inferloom_worker.output.calls.grammar import CallableTool, Rule, thoughtful_grammar, tool_grammar
from inferloom_worker.output.calls.reader import CUSTOM_END
from inferloom_worker.output.calls.schemas import relaxed
from inferloom_worker.output.calls.tagged_schema import unsaid as tagged_unsaid


class Compile(Protocol):
    """Makes constraints of grammars."""

    def __call__(self, grammar: Grammar, *, ending: Ending | None = None) -> GrammarConstraint:
        """The constraint that a grammar is, and how it ends in time. Raises InferloomError."""
        ...


ENDS_IN_TIME = "what is left open ends in time to be complete within max_tokens"
"""The note on answers that end before they would be cut."""


@dataclass(frozen=True, slots=True)
class Enforced:
    """A constraint, and what of it is not enforced as it is meant."""

    constraint: Constraint
    notes: Sequence[str] = ()


def enforced(
    dialect: Dialect | None,
    chat: pb.ChatInput,
    prompt: str | None,
    answer: Grammar | None,
    compiled: Compile,
    *,
    within: int | None = None,
) -> Enforced | None:
    """What the answer to a request is held to.

    Args:
        dialect: The model's; None: it reads no conversations, or the request has none.
        chat: The conversation, validated; empty where the request has none.
        prompt: The text that was made of it.
        answer: What the answer must conform to where it is no call.
        compiled: What makes constraints.
        within: The tokens in which it is to end. None: it may be cut anywhere.

    Returns:
        The constraint. None: there is nothing to enforce.

    Raises:
        InferloomError: INVALID_ARGUMENT at what cannot be enforced and has to be.
    """
    with together():
        return _enforced(dialect, chat, prompt, answer, compiled, within)


def _enforced(
    dialect: Dialect | None,
    chat: pb.ChatInput,
    prompt: str | None,
    answer: Grammar | None,
    compiled: Compile,
    within: int | None,
) -> Enforced | None:
    may = calling(chat)
    if may is None or dialect is None:
        return None if answer is None else _without_calls(dialect, prompt, answer, compiled, within)
    notes: list[str] = []
    own = None if answer is None else source(answer)
    rule = Rule(
        must=may.must,
        most=may.most,
        reasoning=dialect.reasoning,
        opened=dialect.opened(prompt),
        answer=None if own is None else own.text,
    )
    places = {tool.name: f"chat.tools[{index}]" for index, tool in reversed(list(enumerate(chat.tools)))}
    tools = [_callable(dialect.form, places[tool.name], tool, notes) for tool in may.tools]
    text = tool_grammar(dialect.form, tools, rule, dialect.token_of)
    if text is None:
        return None
    ending = None
    if within is not None:
        marks = [CUSTOM_END, *([dialect.form.tags.end] if dialect.form.tags else [])]
        ending = Ending(within, tuple(marks), dialect.form.last, answers=may.must or _is_json(answer))
    try:
        constraint = compiled(Grammar(text, "chat.tools"), ending=ending)
    except InferloomError:
        # One of them is at fault: which, is found out by each alone.
        tools = [
            _alone(dialect, places[tool.name], tool, made, notes, compiled)
            for tool, made in zip(may.tools, tools, strict=True)
        ]
        if answer is not None:
            compiled(answer)
        text = tool_grammar(dialect.form, tools, rule, dialect.token_of)
        constraint = compiled(Grammar(text or "", "chat.tools"), ending=ending)
    told = () if ending is None or not ending.answers else (ENDS_IN_TIME,)
    return Enforced(constraint, [*notes, *(() if own is None else own.notes), *told])


def _without_calls(
    dialect: Dialect | None, prompt: str | None, answer: Grammar, compiled: Compile, within: int | None
) -> Enforced:
    """An answer that has no calls; where the model reasons, after that."""
    ending = None if within is None or not _is_json(answer) else Ending(within)
    told = () if ending is None else (ENDS_IN_TIME,)
    if dialect is None or dialect.reasoning is None:
        alone = compiled(answer, ending=ending)
        return Enforced(alone, [*alone.notes, *told])
    own = source(answer)
    text = thoughtful_grammar(
        own.text, dialect.reasoning, opened=dialect.opened(prompt), spell=dialect.token_of
    )
    return Enforced(compiled(Grammar(text, answer.param), ending=ending), [*own.notes, *told])


def _is_json(answer: Grammar | None) -> bool:
    """Whether an answer that is no call is over where it is complete."""
    return answer is not None and answer.kind is Kind.JSON_SCHEMA


def _callable(form: ToolForm, place: str, tool: pb.Tool, notes: list[str]) -> CallableTool:
    if tool.HasField("custom"):
        return CallableTool(tool.name, {}, _text(f"{place}.custom", tool.custom))
    param = f"{place}.parameters_json_schema"
    formed, wrong = well_formed(json.loads(tool.parameters_json_schema or "{}"))
    if wrong and tool.strict:
        raise malformed(param, wrong)
    notes += [f"{tool.name}: {each}, is not enforced" for each in wrong]
    schema = closed_object(formed)
    try:
        body, unsaid = enforced_schema(param, schema)
    except InferloomError:
        if tool.strict:
            raise
        notes.append(f"{tool.name}: not all of its schema is enforced")
        schema = relaxed(schema)
        body, unsaid = enforced_schema(param, schema)
    if form.tags is not None and COUNTED_TWICE in unsaid:  # between tags, no argument counts twice
        uncounted = {keyword: value for keyword, value in schema.items() if keyword != "minProperties"}
        _, unsaid = enforced_schema(param, uncounted)
    notes += [f"{tool.name}: {note}" for note in unsaid]
    del body["x-guidance"]  # the form has its own
    if form.tags is not None and (without := _in_its_words(formed, tagged_unsaid(body))):
        needed = [each for each in without if not each.startswith("'format' of '")]
        if tool.strict and needed:
            raise unsupported(param, f"{param}: {needed[0]} cannot be enforced in the model's form of calls.")
        notes += [f"{tool.name}: {each} is not enforced" for each in without]
    return CallableTool(tool.name, body)


_SAID_OTHERWISE = (
    *("oneOf", "not", "if", "dependencies", "dependentRequired", "dependentSchemas"),
    *("minProperties", "maxProperties"),
)


def _in_its_words(schema: Mapping[str, Any], unsaid: list[str]) -> list[str]:
    """Keywords by the names that the schema itself has for them, and not what they were rewritten to."""
    own = [f"'{keyword}'" for keyword in _SAID_OTHERWISE if keyword in schema]
    given = [f"'{keyword}'" for keyword in schema]
    found = {"'allOf'": own, "'patternProperties'": ["'propertyNames'"]}
    return [name for each in unsaid for name in (each not in given and found.get(each)) or [each]]


def _text(param: str, custom: pb.CustomTool) -> str:
    """The grammar of a tool's text, in Lark; empty for any."""
    kind = custom.WhichOneof("format")
    if kind is None:
        return ""
    asked = Grammar(getattr(custom, kind), f"{param}.{kind}", Kind(kind))
    (grammar,) = json.loads(source(asked).text)["grammars"]
    return str(grammar["lark_grammar"])


def _alone(
    dialect: Dialect, place: str, tool: pb.Tool, made: CallableTool, notes: list[str], compiled: Compile
) -> CallableTool:
    """The tool as it can be enforced; where its schema cannot, and need not, with any object for arguments.

    Raises:
        InferloomError: It cannot, and has to be.
    """
    if made.text is not None:
        kind = tool.custom.WhichOneof("format")
        if kind is not None:
            compiled(Grammar(getattr(tool.custom, kind), f"{place}.custom.{kind}", Kind(kind)))
        return made
    param = f"{place}.parameters_json_schema"

    def attempt(schema: Mapping[str, Any]) -> None:
        compiled(Grammar(json.dumps({"grammars": [{"json_schema": schema}]}), param))
        alone = CallableTool(tool.name, schema)
        text = tool_grammar(dialect.form, [alone], Rule(must=True), dialect.token_of)
        compiled(Grammar(text or "", param))  # which may lack what a schema by itself has

    try:
        attempt(made.schema)
    except InferloomError:
        if tool.strict:
            raise
    else:
        return made
    body, _ = enforced_schema(param, relaxed(made.schema))
    del body["x-guidance"]
    try:
        attempt(body)
    except InferloomError:
        notes.append(f"{tool.name}: its schema is not enforced")
        body = {"type": "object"}
    else:
        notes.append(f"{tool.name}: not all of its schema is enforced")
    return CallableTool(tool.name, body)
