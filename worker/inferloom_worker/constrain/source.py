"""What the compiler is given of a grammar. Pure; it may take milliseconds."""

import json
import re
from dataclasses import dataclass

from inferloom_mesh.errors import invalid
from inferloom_worker.constrain.grammar import Grammar, Kind
from inferloom_worker.constrain.patterns import is_read, whole_texts, work
from inferloom_worker.constrain.schema import enforced_schema, read_schema
from inferloom_worker.constrain.schema_closing import closed

_UNSAFE = re.compile(r"\\.|/|\n|\r", re.DOTALL)
_LOOK = re.compile(r"\(\?<?[=!]")
_SAFE = {"/": r"\/", "\n": r"\n", "\r": r"\r", "\\\n": r"\n", "\\\r": r"\r"}


@dataclass(frozen=True, slots=True)
class Source:
    """A grammar in the words of llguidance."""

    text: str
    notes: tuple[str, ...] = ()
    """What of it is not enforced, or more narrowly than it is meant."""


def source(grammar: Grammar, *, closes: bool = False) -> Source:
    """What the compiler is given; of a schema that ``closes``, see :mod:`.schema_closing`.

    Raises:
        InferloomError: INVALID_ARGUMENT at the grammar's field.
    """
    match grammar.kind:
        case Kind.LLGUIDANCE:
            return Source(grammar.text)
        case Kind.JSON_SCHEMA:
            asked = read_schema(grammar.param, grammar.text)
            body, notes = enforced_schema(grammar.param, closed(asked) if closes else asked)
            return Source(json.dumps({"grammars": [{"json_schema": body}]}), tuple(notes))
        case Kind.REGEX:
            return _lark(_regex_rules(grammar.text))
        case Kind.CHOICE:
            texts = json.loads(grammar.text)
            return _lark("start: " + " | ".join(json.dumps(text, ensure_ascii=False) for text in texts))
        case Kind.LARK:
            return _lark(_from_gbnf(grammar.param, grammar.text) if "::=" in grammar.text else grammar.text)


def regex(text: str) -> str:
    """A regular expression between slashes, as Lark has it."""
    inside = _UNSAFE.sub(lambda found: _SAFE.get(found[0], found[0]), text)
    return f"/{inside}/"


def _regex_rules(text: str) -> str:
    """Rules for the texts that a regular expression matches, whole; looks in it are other conditions."""
    # Read by itself: what closes a bracket that it did not open would be another one within brackets.
    found = whole_texts(f"^(?:{text})$", work()) if _LOOK.search(text) and is_read(text) else None
    if found is None:
        return f"start: {regex(text)}"
    return f"start: TEXT\nTEXT: {' & '.join(map(regex, found[0]))}"


def _lark(text: str) -> Source:
    return Source(json.dumps({"grammars": [{"lark_grammar": text}]}))


def _from_gbnf(param: str, text: str) -> str:
    """Lark for a grammar in llama.cpp's form of BNF."""
    from llguidance.gbnf_to_lark import gbnf_to_lark  # here, so that reading grammars needs no compiler

    try:
        return str(gbnf_to_lark(text))
    except (ValueError, IndexError, AssertionError, RecursionError) as failure:
        raise invalid(param, f"{param} is no grammar: {failure}.") from None
