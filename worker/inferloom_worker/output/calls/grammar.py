"""Calls as a grammar: what a model may write where it must call, or once it has begun a call. Pure.

The grammars are Lark in llguidance's dialect, for any vocabulary: a mark that is one token of it is spelled
as that token.
"""

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from inferloom_worker.output.calls.form import Arguments, ToolForm
from inferloom_worker.output.calls.forms import GENERIC
from inferloom_worker.output.calls.reader import CUSTOM_BEGIN, CUSTOM_END, CUSTOM_NAMED
from inferloom_worker.output.calls.schemas import standing_alone
from inferloom_worker.output.calls.tagged_grammar import Spelling, TaggedRules
from inferloom_worker.output.reasoning import ReasoningMarks

MOST_CALLS = 8
"""Calls of an answer that must call: small models go on and on, where they may."""

_LAYOUT = {"whitespace_flexible": False, "item_separator": ", ", "key_separator": ": "}
"""White space as the templates themselves write JSON."""
_SHAPES = frozenset(
    {"type", "properties", "required", "additionalProperties", "title", "description", "$defs", "definitions"}
)
"""Keywords of a schema whose arguments can be written one by one."""


@dataclass(frozen=True, slots=True)
class CallableTool:
    """A tool that may be called. Where ``text`` is not None it takes free text: any, or what that grammar, in
    Lark, derives; otherwise an object that conforms to ``schema``."""

    name: str
    schema: Mapping[str, Any]
    text: str | None = None
    """A Lark grammar; empty: any text."""


@dataclass(frozen=True, slots=True)
class Rule:
    """How calls stand in an answer."""

    must: bool
    """Whether there must be one. Then there is nothing else."""
    most: int | None = None
    """Most calls. None: any number."""
    reasoning: ReasoningMarks | None = None
    """Reasoning that may come before the calls that must be, or before what the answer must be."""
    opened: bool = False
    """Whether the prompt has begun it."""
    answer: str | None = None
    """What the answer must be where it is no call, as a list of grammars in JSON. None: any text."""


Spell = Callable[[str], int | None]
"""The token of a mark that is one."""


def tool_grammar(form: ToolForm, tools: Sequence[CallableTool], rule: Rule, spell: Spell) -> str | None:
    """The grammar of an answer, as a list of grammars in JSON. None: there is nothing to enforce, because
    nothing shows where a call begins."""
    return _Writer(form, tools, rule, spell).write()


def thoughtful_grammar(answer: str, reasoning: ReasoningMarks, *, opened: bool, spell: Spell) -> str:
    """The grammar of an answer that reasoning may come before, where it can have no calls; all as a list of
    grammars in JSON."""
    rule = Rule(must=False, reasoning=reasoning, opened=opened, answer=answer)
    return _Writer(GENERIC, (), rule, spell).write() or answer


class _Writer:
    def __init__(self, form: ToolForm, tools: Sequence[CallableTool], rule: Rule, spell: Spell) -> None:
        self._form = form
        self._functions = [tool for tool in tools if tool.text is None]
        self._custom = [tool for tool in tools if tool.text is not None]
        self._rule = rule
        self._tokens = {mark: token for mark in form.marks if (token := spell(mark)) is not None}
        if rule.reasoning is not None:
            for mark in rule.reasoning.marks:
                if (token := spell(mark)) is not None:
                    self._tokens[mark] = token
        self._rules: list[str] = []
        self._others: list[dict[str, Any]] = []

    def write(self) -> str | None:
        if self._rule.must:
            self._must()
        elif self._rule.answer is not None:
            self._either()
        elif not self._may():
            return None
        lark = "\n".join(["%llguidance {}", *self._rules, ""])
        return json.dumps({"grammars": [{"name": "calls", "lark_grammar": lark}, *self._others]})

    @property
    def _most(self) -> int:
        """Calls that an answer may have."""
        return 1 if self._form.alone else self._rule.most or MOST_CALLS

    # Where calls stand

    def _must(self) -> None:
        self._sections()
        before = self._thought()
        self._rules.insert(0, f"start: {before}calls")

    def _thought(self) -> str:
        """What comes before the rest: reasoning, where the model may reason."""
        marks = self._rule.reasoning
        if marks is None:
            return ""
        after = self._literal(marks.after) or "/\\n{0,2}/"
        if marks.end in self._tokens:
            self._rules.append(f"thought: /(?s:.*)/ {self._literal(marks.end)} {after}")
        else:
            self._rules.append(f"thinking[suffix={_quoted(marks.end)}]: /(?s:.*)/")
            self._rules.append(f"thought: thinking {after}")
        return "thought " if self._rule.opened else f"({self._literal(marks.begin)} thought)? "

    def _either(self) -> None:
        """Calls, where there are tools, or an answer that has its own grammar."""
        marks = self._rule.reasoning
        ways = f"{self._literal(marks.answer) if marks else ''} @answer".strip()
        if self._functions or self._custom:
            self._sections()
            ways = f"(calls | {ways})"
        grammars = json.loads(self._rule.answer or "")["grammars"]
        grammars[0] = {**grammars[0], "name": "answer"}
        self._others += grammars
        before = self._thought()
        self._rules.insert(0, f"start: {before}{ways}")

    def _sections(self) -> None:
        """``calls``: those in the model's form, then those in ours."""
        ways = []
        if self._functions:
            self._section()
            ways.append("section")
        if self._custom:
            self._custom_rules(CUSTOM_BEGIN)
            ways.append("custom")
        most = self._most
        again = f' ("\\n" custom){{0,{most - 1}}}' if self._custom and most > 1 else ""
        self._rules.append(f"calls: {' | '.join(way + again for way in ways)}")

    def _may(self) -> bool:
        """Text, with calls in it where their beginning is marked."""
        form, tags = self._form, []
        if form.channels:
            return False
        if self._functions and form.trigger and (form.trigger in self._tokens or form.trigger not in _TOKENS):
            first = form.first + (form.begin if not form.first else "")
            if first.startswith(form.trigger):
                self._section(cut=len(form.trigger))
            else:
                self._section()
            tags.append(("section", form.trigger))
        if self._custom:
            self._custom_rules("")
            tags.append(("custom", CUSTOM_BEGIN))
        opened = self._functions and (form.first + form.begin).startswith(tuple(form.reader.openers or "\0"))
        if not tags and not opened:
            return False
        for name, trigger in tags:
            if trigger in self._tokens:
                self._rules.append(f"tag_{name}: TEXT {self._literal(trigger)} {name}")
            else:
                self._rules.append(f"begun_{name}[lazy]: TEXT {_quoted(trigger)}")
                self._rules.append(f"tag_{name}: begun_{name} {name}")
        if opened:
            self._opened(defined=any(name == "section" for name, _ in tags))
        marked = [f"tag_{name}" for name, _ in tags]
        if self._rule.most == 1:
            ways = ["TEXT", *marked, *(["opened"] if opened else [])]
        else:
            rest = f"({' | '.join(marked)})* TEXT" if marked else "TEXT"
            ways = [rest, *([f"opened {rest}"] if opened else [])]
        self._rules.insert(0, f"start: {' | '.join(ways)}")
        self._rules.append("TEXT: /(.|\\n)*/")
        return True

    def _opened(self, *, defined: bool) -> None:
        """``opened``: calls that nothing marks, at the beginning of an answer. One has begun with its name
        and what stands behind that, so text may begin like one."""
        form, most = self._form, self._most
        if not defined:
            self._functions_rules()
        ways = []
        for index, tool in enumerate(self._functions):
            begun = re.escape(form.first + form.begin + tool.name + form.named).replace("/", r"\/")
            self._rules.append(f"o_{index}[lazy]: /[ \\n]*{begun}/")
            ways.append(f"o_{index} {self._arguments(f'o_{index}', tool)} {self._literal(form.end)}")
        between = self._literal(form.between + form.begin)
        again = f" ({between} function){{0,{most - 1}}}" if most > 1 else ""
        self._rules.append(f"opened: ({' | '.join(ways)}){again} {self._literal(form.last)}".rstrip())

    # One section of calls in the model's form

    def _section(self, cut: int = 0) -> None:
        """``section``, without its first ``cut`` characters."""
        form, most = self._form, self._most
        first, begin = form.first[cut:], form.begin if form.first else form.begin[cut:]
        self._functions_rules()
        # In the midst of text, forms whose calls have a mark each begin a section with each.
        alone = most == 1 or (not self._rule.must and not form.first and form.begin.startswith(form.trigger))
        again = ""
        if not alone:
            if form.last:
                between = self._literal(form.between + form.begin)
            else:
                # Apart: what follows a call may begin alike.
                between = f"{self._literal(form.between)} {self._literal(form.begin)}".strip()
            again = f" ({between} function){{0,{most - 1}}}"
        parts = (self._literal(first + begin), f"function{again}", self._literal(form.last))
        self._rules.append(f"section: {' '.join(part for part in parts if part)}")

    def _functions_rules(self) -> None:
        """``function``: one call, from its name on."""
        for index, tool in enumerate(self._functions):
            arguments, end = self._arguments(f"{index}", tool), self._literal(self._form.end)
            self._rules.append(f"f_{index}: {self._named(tool)} {arguments} {end}")
        functions = " | ".join(f"f_{index}" for index in range(len(self._functions)))
        self._rules.append(f"function: {functions}")

    def _named(self, tool: CallableTool) -> str:
        """A call's name and what stands behind it."""
        if not self._form.numbered:
            return self._literal(tool.name + self._form.named)
        return f"{_quoted(f'{tool.name}:')} /[0-9]{{1,3}}/ {self._literal(self._form.named)}"

    def _arguments(self, index: str, tool: CallableTool) -> str:
        if self._form.tags is not None:
            spelling = Spelling(_json, self._literal, lambda text: text.startswith(tuple(self._tokens)))
            rules = TaggedRules(self._form.tags, tool.schema, f"p_{index}", spelling)
            name = rules.write()
            self._rules += rules.rules
            return name
        if self._form.arguments is Arguments.OBJECT:
            return _json(tool.schema)
        properties = tool.schema.get("properties", {})
        names = all(re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", name) for name in properties)
        simple = set(tool.schema) <= _SHAPES and tool.schema.get("additionalProperties") is False
        simple = simple and all(name in properties for name in tool.schema.get("required", ()))
        simple = simple and False not in properties.values()
        if not (simple and names and tool.schema.get("type") == "object"):
            return f'"**" {_json(tool.schema)}'
        return self._keywords(index, tool.schema, properties)

    def _keywords(self, index: str, schema: Mapping[str, Any], properties: Mapping[str, Any]) -> str:
        """``a=…, b=…`` in the schema's order, where what is not required may be left out."""
        last = len(properties)
        self._rules += [f'k_{index}_{last}: ""', f'n_{index}_{last}: ""']
        for at, (name, part) in reversed(list(enumerate(properties.items()))):
            value = standing_alone(schema, part if isinstance(part, dict) else {})
            self._rules.append(f"v_{index}_{at}: {_quoted(f'{name}=')} {_json(value)}")
            rest, given = f"n_{index}_{at + 1}", f"v_{index}_{at}"
            if name in schema.get("required", ()):
                self._rules.append(f"k_{index}_{at}: {given} {rest}")
                self._rules.append(f'n_{index}_{at}: ", " {given} {rest}')
            else:
                self._rules.append(f"k_{index}_{at}: {given} {rest} | k_{index}_{at + 1}")
                self._rules.append(f'n_{index}_{at}: ", " {given} {rest} | {rest}')
        return f"k_{index}_0"

    # Calls with free text

    def _custom_rules(self, begin: str) -> None:
        names = []
        for index, tool in enumerate(self._custom):
            head = _quoted(f"{begin}{tool.name}{CUSTOM_NAMED}")
            if tool.text:
                self._others.append({"name": f"text_{index}", "lark_grammar": tool.text})
                self._rules.append(f"c_{index}: {head} @text_{index} {_quoted(CUSTOM_END)}")
            else:
                self._rules.append(f"t_{index}[suffix={_quoted(CUSTOM_END)}]: /(?s:.*)/")
                self._rules.append(f"c_{index}: {head} t_{index}")
            names.append(f"c_{index}")
        self._rules.append(f"custom: {' | '.join(names)}")

    # Spelling

    def _literal(self, text: str) -> str:
        """A text in which marks that are tokens stand as tokens."""
        if not self._tokens:
            return _quoted(text) if text else ""
        marks = "|".join(re.escape(mark) for mark in sorted(self._tokens, key=len, reverse=True))
        parts = [part for part in re.split(f"({marks})", text) if part]
        return " ".join(f"<[{self._tokens[p]}]>" if p in self._tokens else _quoted(p) for p in parts)


_TOKENS = ("<|python_tag|>", "<|python_start|>")
"""Triggers that are of no use where they are no tokens: no model writes them out."""


def _quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)


def _json(schema: Mapping[str, Any]) -> str:
    # A line of its own: a schema may hold what looks like a comment.
    return f"%json {json.dumps({**schema, 'x-guidance': _LAYOUT})}"
