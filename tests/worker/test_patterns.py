"""Patterns with looks are said without: answers have the pattern, and no text that has it is refused."""

import json
import random
import re
from itertools import product
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator
from llguidance import LLMatcher

from inferloom_worker.constrain import patterns
from inferloom_worker.constrain.grammar import Grammar, Kind
from inferloom_worker.constrain.patterns import (
    MOST_OF_ALL,
    MOST_STEPS,
    Work,
    has_pattern,
    no_text,
    one_text,
    together,
    whole_texts,
    work,
)
from inferloom_worker.constrain.regex_nodes import Node, Seq
from inferloom_worker.constrain.regex_reading import read_regex
from inferloom_worker.constrain.regex_states import Reading, State, Steps
from inferloom_worker.constrain.source import source
from inferloom_worker.output.calls.raw_values import named_schemas
from tests.worker.grammars import accepts, by_bytes, compact, derives, matcher, refusal, schema

PIECES = st.sampled_from(
    [
        *("a", "b", "-", "ab", "[ab]", "[^a]", "[a-]", "[\\w-]", "[[b]", "a{1,2}"),
        r"\w",
        r"\W",
        r"\d",
        r"\s",
        ".",
    ]
)
EXPRESSIONS = st.recursive(
    PIECES,
    lambda inner: st.one_of(
        st.builds("{}{}".format, inner, inner),
        st.builds("(?:{}|{})".format, inner, inner),
        st.builds("(?:{}){}".format, inner, st.sampled_from(["*", "+", "?", "{0,2}"])),
        st.builds("{}{})".format, st.sampled_from(["(?=", "(?!"]), inner),
        st.builds("(?!{}$)".format, inner),
        st.builds(r"\b{}".format, inner),
    ),
    max_leaves=5,
)
PATTERNS = st.builds(
    "{}{}{}".format, st.sampled_from(["", "^"]), EXPRESSIONS, st.sampled_from(["", "$", "(?<!a)$"])
) | st.builds("{}|^{}$".format, EXPRESSIONS, EXPRESSIONS)
TEXTS = ["".join(letters) for size in range(5) for letters in product("ab-1", repeat=size)]
ODD = ["\n", "a\n", "ab\n", "\na", "é", "aé", "éa", "٣", "a٣", "a\x1cb", "\ufeff", "a\x85", "[", "[b"]
"""Texts of which dialects say different things."""


def compiled(expression: str) -> re.Pattern[str]:
    """An expression in the compiler's words."""
    return re.compile(re.sub(r"\\x\{([0-9A-F]+)\}", lambda code: f"\\U{int(code[1], 16):08x}", expression))


@pytest.mark.filterwarnings("ignore:Possible nested set:FutureWarning")
@settings(max_examples=100, deadline=None)
@given(pattern=PATTERNS)
def test_a_text_is_let_through_where_it_has_the_pattern(pattern: str) -> None:
    """As Python's re judges; of what only some dialects say so, none is let through that it refuses."""
    judge, found = re.compile(pattern), whole_texts(pattern, work())
    if found is None:
        return
    one, other = one_text(pattern, work()), no_text(pattern, work())
    conditions, singles = [compiled(text) for text in found[0]], [compiled(one)] if one is not None else []
    others = [compiled(other)] if other is not None else []
    for text in TEXTS + ODD:
        wanted = judge.search(text) is not None
        taken = all(condition.fullmatch(text) for condition in conditions)
        if text in ODD:
            assert wanted or not (taken or any(single.fullmatch(text) for single in singles))
            assert not wanted or not any(each.fullmatch(text) for each in others)
            continue
        assert taken is wanted
        assert all((single.fullmatch(text) is not None) is wanted for single in singles)
        assert all((each.fullmatch(text) is None) is wanted for each in others)
    for text in TEXTS[::17]:
        assert has_pattern(pattern, text, Work()) in (judge.search(text) is not None, None)


def drawn(start: LLMatcher, seed: int) -> str | None:
    """A text that a grammar derives, drawn byte by byte. None: it had no end in time."""
    chance, at, data = random.Random(seed), start.deep_copy(), bytearray()
    mask = np.zeros(-(-by_bytes().vocab_size // 32), np.int32)
    while len(data) < 400:
        if at.is_accepting() and (at.is_stopped() or chance.random() < 0.3):
            return data.decode()
        at.unsafe_compute_mask_ptr(mask.ctypes.data, mask.nbytes)
        allowed = np.unpackbits(mask.view(np.uint8), bitorder="little").nonzero()[0]
        # Letters, digits and marks more often than what has several bytes; and the ends of strings.
        liked = [byte for byte in allowed if byte < 127] or [byte for byte in allowed if byte < 256]
        if not liked:
            return data.decode() if at.is_accepting() else None
        token = ord('"') if ord('"') in liked and chance.random() < 0.3 else int(chance.choice(liked))
        assert at.consume_token(token)
        data.append(token)
    return None


EMAIL = r"^(?!\.)(?!.*\.\.)([A-Za-z0-9_'+\-\.]*)[A-Za-z0-9_+-]@([A-Za-z0-9][A-Za-z0-9\-]*\.)+[A-Za-z]{2,}$"
DURATION = r"^P(?:(\d+W)|(?!.*W)(?=\d|T\d)(\d+Y)?(\d+M)?(\d+D)?(T(?=\d)(\d+H)?(\d+M)?(\d+([.,]\d+)?S)?)?)$"
LABEL = "[a-zA-Z0-9](?:[a-zA-Z0-9-]{0,61}[a-zA-Z0-9])?"
CLASSIC = (
    r"""^(([^<>()[\]\\.,;:\s@"]+(\.[^<>()[\]\\.,;:\s@"]+)*)|(".+"))@((([a-zA-Z\-0-9]+\.)+[a-zA-Z]{2,}))$"""
)
KINDS: dict[str, tuple[str, str | None, list[str], list[str]]] = {
    "e-mail of zod": (EMAIL, "email", ["a.b@c.de", "x@y.org"], [".a@b.de", "a..b@c.de", "a@b", "a.@b.de"]),
    "duration of zod": (DURATION, "duration", ["P1Y", "PT5M", "P3W"], ["P", "PT", "P1W2D", "P1DT"]),
    "host of zod": (
        rf"^(?=.{{1,253}}\.?$){LABEL}(?:\.{LABEL})*\.?$",
        None,
        ["a.b"],
        ["-a", ".".join(["a" * 60] * 5)],
    ),
    "domain of zod": (rf"^(?=.{{1,253}}$)({LABEL}\.)+[a-zA-Z]{{2,63}}$", None, ["a.de"], ["a"]),
    "time of zod": (r"^(?:[01]\d|2[0-3]):[0-5]\d(?::[0-5]\d(?:\.\d+)?)?$", "time", ["12:30"], ["25:00"]),
    "base64 of zod": (
        r"^$|^(?:[0-9a-zA-Z+/]{4})*(?:(?:[0-9a-zA-Z+/]{2}==)|(?:[0-9a-zA-Z+/]{3}=))?$",
        *("base64", ["", "YQ=="], ["a", "YQ="]),
    ),
    "path": (
        r"^(?!/)(?!.*(?:^|/)\.{1,2}(?:/|$))(?!.*\$\(|.*\$\{)[A-Za-z0-9._+@$-]+(?:/[A-Za-z0-9._+@$-]+)*/?$",
        *(None, ["a/b.c", "a..b/"], ["/a", "a/../b", "..", "a/."]),
    ),
    "name": (r"^(?!_)(?!.*__)[a-z_]{1,64}(?<!_)$", None, ["a_b"], ["_a", "a__b", "a_"]),
    "password": (
        r"^(?=.*[a-z])(?=.*[A-Z])(?=.*\d)[A-Za-z\d@$!%*?&]{8,12}$",
        None,
        ["aA1@aaaa"],
        ["aA1@aaa", "a" * 8],
    ),
    "not blank": (r"^(?!\s*$).+", None, [" a"], [" ", ""]),
    "without a word": (r"^(?:(?!foo).)*$", None, ["fofo"], ["xfoo"]),
    "two words": (r"^[a-z]+\b.\b[a-z]+$", None, ["foo bar"], ["foobar", "foo  bar"]),
    "label": (r"^(?!-)[A-Za-z0-9-]{1,63}(?<!-)$", None, ["a-b"], ["-a", "a-"]),
    "not reserved": (r"^(?!(?:admin|root)$)[a-z]+$", None, ["roots"], ["root", "admin"]),
    "social security": (
        r"^(?!000|666)[0-8]\d{2}-(?!00)\d{2}-(?!0000)\d{4}$",
        None,
        ["123-45-6789"],
        ["123-00-1111"],
    ),
    "hyphen in a class": (r"^[\w-\.]+@([\w-]+\.)+[\w-]{2,4}$", None, ["a-b@c.de"], ["a"]),
    "bracket in a class": (CLASSIC, None, ["a@b.de"], ["a(b@c.de", "a[b@c.de"]),
    "ends within": (r"^([^,]+(,|$)){3,}$", None, ["a,b,c", "a,b,c,"], ["a,b", "a,,b,c"]),
    "anything": (r"^(?!b)[\s\S]*[\w\W][^\s\S]?$", None, ["a\x85«é", "\ufeff"], ["b", ""]),
    "no dots": (r"^[^.]+(?:\.(?!\.)[^.]+)*$", None, ["a.b"], ["a..b"]),
}


@pytest.mark.filterwarnings("ignore:Possible nested set:FutureWarning")
@pytest.mark.parametrize("kind", KINDS)
def test_patterns_that_libraries_send_are_enforced(kind: str) -> None:
    """Valid texts are taken, others are not, and what is drawn is valid."""
    pattern, form, good, bad = KINDS[kind]
    part = {"type": "string", "pattern": pattern, **({"format": form} if form else {})}
    asked = {"type": "object", "properties": {"a": part}, "required": ["a"], "additionalProperties": False}
    start = matcher(schema(asked))
    part["pattern"] = pattern.replace(r"[\w-\.]", r"[\w\-.]")  # Python wants it so
    judge = Draft202012Validator(asked)

    assert all(derives(start, compact({"a": text})) for text in good)
    assert not any(derives(start, compact({"a": text})) for text in bad)
    answers = [json.loads(text) for seed in range(12) if (text := drawn(start, seed)) is not None]
    assert answers
    assert all(judge.is_valid(answer) for answer in answers)


@pytest.mark.parametrize(
    "digits",
    [
        r"\d*\.?\d*",
        r"\d*\.?\d{0,2}0*",
        r"(?:\d{0,8}|(?=[\d.]{1,11}0*$)\d{0,8}\.\d{0,2}0*$)",
        r"(?:\d{0,4}|(?=[\d.]{1,5}0*$)\d*\.\d*0*$)",
    ],
)
def test_decimals_of_pydantic_are_enforced(digits: str) -> None:
    """Their patterns, as versions before 2.14 write them, have looks in their midst."""
    pattern = f"^(?!^[-+.]*$)[+-]?0*{digits}$"
    asked = {"anyOf": [{"type": "number"}, {"type": "string", "pattern": pattern}]}
    start, judge = matcher(schema(asked)), Draft202012Validator(asked)

    for value in (1, 2.5, "1.50", "-0.5", "1000", "12345.67", "", "-", ".", "1.234", "1.2.3", "12345678901"):
        assert derives(start, compact(value)) is judge.is_valid(value), value


@pytest.mark.parametrize(
    ("pattern", "good", "bad"),
    [
        (
            r"^(?=[\s\S]*[\p{Extended_Pictographic}\u20E3])[\p{Extended_Pictographic}\p{Emoji_Component}]+$",
            *(["😀", "1\ufe0f\u20e3"], ["1", "a😀", ""]),
        ),
        (r"^(?=.*\p{Lu})[^\p{N}\d]+$", ["aÄ"], ["ä", "Ä1", "Ä٣"]),
    ],
)
def test_properties_of_unicode_stand_beside_looks(pattern: str, good: list[str], bad: list[str]) -> None:
    """In the compiler's words: Python has none for them."""
    start = matcher(schema({"type": "string", "pattern": pattern}))

    assert all(derives(start, compact(text)) for text in good)
    assert not any(derives(start, compact(text)) for text in bad)


def test_a_format_that_contradicts_its_pattern_is_an_annotation() -> None:
    """Times of a pattern have no zone, and those of the format have one."""
    notes = source(schema({"type": "string", "format": "time", "pattern": "^..:..$"})).notes

    assert notes == ("the format 'time' is not enforced beside its pattern",)


@pytest.mark.parametrize(
    ("pattern", "reason"),
    [
        (r"^(a|b)\1$", "backreferences"),
        (r"^(?=(a)\1)b$", "look-ahead"),
        (r"^a(?<=b|a)c$", "look-behind"),
        (r"^(?!\p{Lu})a$", "look-ahead"),
        ("^(?!.*(?:a|b)*a(?:a|b){12}$)x", "look-ahead"),
        ("^(?!" + "(?:a?){40}" * 20 + "$)", "look-ahead"),
        ("^(?!" + "(" * 100 + ")" * 100 + ")", "look-ahead"),
    ],
)
def test_what_cannot_be_said_is_refused_by_name(pattern: str, reason: str) -> None:
    """Also where it would take long."""
    told = refusal(schema({"type": "string", "pattern": pattern}))

    assert told is not None
    assert reason in told.lower()


@pytest.mark.parametrize(
    ("expression", "good", "bad"),
    [("(?!b)[ab]+(?<!b)", ["a", "aba"], ["b", "ab"]), ("x(?=.*y)[xyz]*", ["xzy"], ["xz"])],
)
def test_regular_expressions_have_looks_too(expression: str, good: list[str], bad: list[str]) -> None:
    """They match whole answers."""
    grammar: Any = Grammar(expression, "regex", Kind.REGEX)

    assert all(accepts(grammar, text) for text in good)
    assert not any(accepts(grammar, text) for text in bad)


@pytest.mark.parametrize("text", ["a)|(?=b)(?:c", "(?=b", "a)(?=b"])
def test_an_expression_is_read_by_itself(text: str) -> None:
    """What closes a bracket that it did not open is none."""
    assert refusal(Grammar(text, "regex", Kind.REGEX)) is not None


def test_a_line_ends_where_it_does_for_any_dialect() -> None:
    """ECMA-262 has four characters that ``.`` is not, and Python one."""
    one = one_text("^(?!b).$", work())
    other = no_text("^(?!b).$", work())
    assert one is not None
    assert other is not None
    for text in ("\r", "\u2028", "\u2029"):
        assert compiled(one).fullmatch(text) is None
        assert compiled(other).fullmatch(text) is None
    assert compiled(one).fullmatch("a")
    assert compiled(other).fullmatch("\n")


LONG = [f"^(?!x)(?=b){'a' * (4000 - at)}(?!y)$" for at in range(20)]


@pytest.mark.parametrize(
    "asked",
    [
        {"properties": {f"{at}": {"pattern": pattern} for at, pattern in enumerate(LONG)}},
        {"properties": {letter * 190: {} for letter in "abc"}, "propertyNames": {"pattern": "a" * 4000}},
        {"properties": {f"{at}": {} for at in range(5000)}, "propertyNames": {"pattern": "^(?:a?){40}$"}},
        {"patternProperties": {pattern: {} for pattern in LONG}},
    ],
)
def test_patterns_are_read_within_the_bounds_of_their_schema(
    asked: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Long sequences count as several steps; and what is not read is refused."""
    taken, copied, take, step = 0, 0, Steps.take, Reading._step

    def counted(steps: Steps, some: int = 1) -> None:
        nonlocal taken
        taken += some
        take(steps, some)

    def watched(reading: Reading, items: tuple[Node, ...], *rest: Any, **more: Any) -> State:
        nonlocal copied
        copied += len(items)
        return step(reading, items, *rest, **more)

    monkeypatch.setattr(Steps, "take", counted)
    monkeypatch.setattr(Reading, "_step", watched)
    patterns._found_before.clear()

    refusal(schema({"type": "object", **asked}))

    assert taken <= MOST_OF_ALL + MOST_STEPS
    assert copied <= 128 * (MOST_OF_ALL + MOST_STEPS)


def test_patterns_beyond_the_bounds_are_refused_by_name() -> None:
    """Not left to a compiler that reads them otherwise."""
    asked = {"type": "object", "properties": {f"{at}": {"pattern": each} for at, each in enumerate(LONG)}}

    assert "patterns that take too much work" in (refusal(schema(asked)) or "")


def test_the_same_pattern_is_work_once() -> None:
    """So a form may have many addresses."""
    steps = work()
    assert whole_texts(EMAIL, steps) is not None
    left = steps.left
    assert [whole_texts(EMAIL, steps) for _ in range(100)] == [whole_texts(EMAIL, steps)] * 100
    assert steps.left == left
    with together():
        assert work() is work()
    assert work() is not work()


NAMED: list[tuple[dict[str, Any], list[Any], list[Any]]] = [
    (
        {"patternProperties": {r"^(?!x)\w+$": {"type": "number"}}},
        [{"a": 1}, {"x": "t"}, {"-": "t"}, {}],
        [{"é": "t"}, {"a": "t"}],
    ),
    (
        {"patternProperties": {r"^(?!x)\w+$": {"type": "number"}}, "properties": {"a": {"type": "integer"}}},
        [{"a": 1, "x": "t"}],
        [{"a": "t"}, {"é": "t"}],
    ),
    (
        {
            "patternProperties": {"^(?!x)[a-z]$": {"type": "number"}, "^[0-9]": {"type": "null"}},
            "additionalProperties": {"type": "string"},
        },
        [{"a": 1, "0": None, "x": "t"}],
        [{"a": "t"}, {"0": "t"}, {"x": 1}],
    ),
]


@pytest.mark.parametrize(("asked", "good", "bad"), NAMED)
def test_names_with_a_pattern_of_one_dialect_are_not_free(
    asked: dict[str, Any], good: list[Any], bad: list[Any]
) -> None:
    """A pattern of names is a condition: what may have it cannot be, nor be anything."""
    asked = {"type": "object", **asked}
    start, judge = matcher(schema(asked)), Draft202012Validator(asked)

    assert all(judge.is_valid(value) and derives(start, compact(value)) for value in good)
    assert not any(judge.is_valid(value) or derives(start, compact(value)) for value in bad)


@pytest.mark.parametrize("pattern", [r"^\p{L}+$", "(?i)^n"])
def test_a_listed_name_is_not_taken_for_one_without_the_pattern(pattern: str) -> None:
    """Where that is not known, it is told."""
    asked = {"properties": {"name": {"type": "integer"}}, "propertyNames": {"pattern": pattern}}

    assert "'propertyNames'" in (refusal(schema({"type": "object", **asked})) or "")
    assert named_schemas({"patternProperties": {pattern: {}}}, "name", work()) is None


def test_names_of_several_patterns_are_each_read_by_itself() -> None:
    """As one, they would close each other's brackets."""
    names = {"anyOf": [{"pattern": "a)|(b"}, {"pattern": "c"}]}

    assert refusal(schema({"type": "object", "propertyNames": names})) is not None


def test_what_a_pattern_becomes_counts_too() -> None:
    """A letter may become a thousand characters: they are written within bounds, and not kept without end."""
    few, many = work(), work()
    assert whole_texts(r"[\b]" + r"\D" * 40, few) is not None
    assert few.left < MOST_OF_ALL - 500
    assert whole_texts(r"[\b]" + r"\D" * 2040, many) is None
    patterns._found_before.clear()
    for at in range(40):
        whole_texts(rf"[\b{at:04d}]" + r"\D" * 50, Work())
    held = sum(size for _, size in patterns._found_before._values.values())
    assert 40 * 40_000 < held <= patterns.MOST_KEPT_BYTES


def test_what_a_letter_stands_for_is_worked_out_once() -> None:
    """There may be thousands in a pattern, and telling what is no digit takes as long as twenty letters."""
    node, _ = read_regex(r"\D\D")
    assert isinstance(node, Seq)
    assert node.items[0] is node.items[1]


def test_patterns_that_are_too_long_to_be_read_are_not_kept() -> None:
    """They would stay, as what they are kept by."""
    patterns._found_before.clear()
    assert whole_texts("\U0001f600" * 2**16, Work()) is None
    assert not patterns._found_before._values
