"""Answers that must conform end in time, whatever a model would rather say."""

import json
import random
from typing import Any

import numpy as np
import pytest
from jsonschema import Draft202012Validator

from inferloom_worker.constrain.compiler import GrammarCompiler
from inferloom_worker.constrain.grammar import Ending, Grammar, Kind
from inferloom_worker.constrain.schema_closing import closed_object
from inferloom_worker.engine.constraint import WORD, Matcher
from inferloom_worker.output.calls.form import ToolForm
from inferloom_worker.output.calls.forms import BY_NAME, FORMS
from inferloom_worker.output.calls.grammar import CallableTool, Rule, tool_grammar
from inferloom_worker.output.calls.offer import Offer
from inferloom_worker.output.calls.reader import CUSTOM_END
from inferloom_worker.text.tokenizer import Tokenizer
from tests.worker.grammars import allowed_by
from tests.worker.heard import heard
from tests.worker.test_patterns import KINDS

TEXT = {"type": "string"}
SCHEMAS: dict[str, dict[str, Any]] = {
    "text": {"type": "object", "properties": {"a": TEXT, "b": TEXT}, "required": ["a", "b"]},
    "list": {"type": "array", "items": {"type": "array", "items": TEXT}},
    "any": {"type": "object"},
    "number": {"type": "object", "properties": {"n": {"type": "number"}, "m": TEXT}, "required": ["n", "m"]},
    "mail": {
        "type": "object",
        "properties": {"to": {"type": "string", "format": "email"}},
        "required": ["to"],
    },
    "zod's mail": {
        "type": "object",
        "properties": {"to": {"type": "string", "format": "email", "pattern": KINDS["e-mail of zod"][0]}},
        "required": ["to"],
    },
    "domains": {
        "type": "array",
        "items": {"type": "string", "pattern": KINDS["domain of zod"][0]},
        "minItems": 1,
    },
    "dates": {"type": "array", "items": {"type": "string", "format": "date"}, "minItems": 1},
    "tree": {
        "type": "object",
        "properties": {"name": TEXT, "below": {"type": "array", "items": {"$ref": "#"}}},
        "required": ["name", "below"],
        "additionalProperties": False,
    },
}


@pytest.fixture(scope="module")
def compiler(smollm_tokenizer: Tokenizer) -> GrammarCompiler:
    """That of the demo model."""
    return GrammarCompiler(smollm_tokenizer, smollm_tokenizer.vocab_size)


def rambled(matcher: Matcher, tokenizer: Tokenizer, seed: int, most: int) -> tuple[str, bool]:
    """What comes of drawing without sense, and whether it came to its end. Quotes and brackets are
    taken last, as a model does that goes on and on."""
    draw = random.Random(seed)
    said: list[int] = []
    mask = np.empty(-(-tokenizer.vocab_size // WORD), np.int32)
    while matcher.fill(mask):
        if len(said) == most:
            return tokenizer.decode(said, skip_special_tokens=False), False
        allowed = np.unpackbits(mask.view(np.uint8), bitorder="little").nonzero()[0]
        drawn = [int(allowed[draw.randrange(len(allowed))]) for _ in range(8)]
        drawn = [token for token in drawn if token not in tokenizer.eos_ids] or drawn
        open_ = [t for t in drawn if not set(tokenizer.token_bytes(t)) & set(b'"]}<)')]
        token = (open_ or drawn)[0]
        if draw.random() < 0.2:  # a draft that comes to nothing
            matcher.accept(token)
            matcher.fill(mask)
            matcher.rollback(1)
        matcher.accept(token)
        said.append(token)
    return tokenizer.decode(said, skip_special_tokens=False), True


@pytest.mark.parametrize("within", [40, 150])
@pytest.mark.parametrize("name", SCHEMAS)
def test_what_is_left_open_ends_in_time(
    compiler: GrammarCompiler, smollm_tokenizer: Tokenizer, name: str, within: int
) -> None:
    """Strings, lists, digits and objects; and it conforms."""
    grammar = Grammar(json.dumps(SCHEMAS[name]), kind=Kind.JSON_SCHEMA)
    for seed in range(3):
        matcher = compiler.compile(grammar, ending=Ending(within)).matcher()
        text, ended = rambled(matcher, smollm_tokenizer, seed, within)
        assert ended, text
        Draft202012Validator(SCHEMAS[name]).validate(json.loads(text))


def test_an_answer_that_need_not_end_is_cut(compiler: GrammarCompiler, smollm_tokenizer: Tokenizer) -> None:
    """Nothing is known of its tokens."""
    grammar = Grammar(json.dumps(SCHEMAS["text"]), kind=Kind.JSON_SCHEMA)

    assert not rambled(compiler.compile(grammar).matcher(), smollm_tokenizer, 1, 150)[1]


TOOLS = [
    CallableTool("write", closed_object(SCHEMAS["text"])),
    CallableTool("run", {}, ""),
    CallableTool("now", closed_object({"type": "object", "properties": {}})),
]


@pytest.mark.parametrize("form", FORMS, ids=lambda form: form.name)
def test_calls_end_in_time(compiler: GrammarCompiler, smollm_tokenizer: Tokenizer, form: ToolForm) -> None:
    """In every form, those that take free text too."""
    grammar = tool_grammar(form, TOOLS, Rule(must=True), lambda mark: None)
    assert grammar is not None
    ends = (CUSTOM_END, *((form.tags.end,) if form.tags else ()))
    for seed in range(4):
        constraint = compiler.compile(Grammar(grammar), ending=Ending(200, ends, form.last))
        text, ended = rambled(constraint.matcher(), smollm_tokenizer, seed, 200)
        reader = form.reader(Offer({tool.name: tool.text is not None for tool in TOOLS}, str))
        reader.push(text)
        left = reader.flush()
        assert ended, text
        assert reader.calls, text
        assert not heard(left).text


def test_calls_that_may_be_leave_text_alone(compiler: GrammarCompiler, smollm_tokenizer: Tokenizer) -> None:
    """It may go on to its last token; a call that has begun ends."""
    form = BY_NAME["hermes"]
    grammar = tool_grammar(form, TOOLS, Rule(must=False), lambda mark: None)
    assert grammar is not None
    constraint = compiler.compile(Grammar(grammar), ending=Ending(80, answers=False))
    matcher = constraint.matcher()
    for token in smollm_tokenizer.encode("Well. " * 39, add_special_tokens=False)[:78]:
        matcher.accept(token)
        assert len(allowed_by(matcher, smollm_tokenizer.vocab_size) or ()) > 1000

    matcher = constraint.matcher()
    begun = form.first + form.begin + "write" + form.named + '{"a": "'
    said = smollm_tokenizer.encode("Well. " + begun, add_special_tokens=False)
    for token in said:
        matcher.accept(token)
    text, _ = rambled(matcher, smollm_tokenizer, 3, 80 - len(said))
    reader = form.reader(Offer({tool.name: tool.text is not None for tool in TOOLS}, str))
    reader.push(begun + text)
    assert reader.calls == 1


def test_choices_that_began_together_do_not_look_at_the_same_step(
    compiler: GrammarCompiler, smollm_tokenizer: Tokenizer
) -> None:
    """How far the end is takes long to see. When it is looked depends on the tokens alone."""
    grammar = Grammar(json.dumps(SCHEMAS["text"]), kind=Kind.JSON_SCHEMA)
    constraint = compiler.compile(grammar, ending=Ending(200))
    places: list[int] = []
    for seed in range(12):
        draw = random.Random(seed)
        words = " ".join("".join(draw.choices("abcdefgh", k=4)) for _ in range(80))
        ids = smollm_tokenizer.encode('{"a":"' + words, add_special_tokens=False)[:110]
        here, there = constraint.matcher(), constraint.matcher()
        mask = np.empty(-(-smollm_tokenizer.vocab_size // WORD), np.int32)
        for token in ids:
            assert here.fill(mask)
            here.accept(token)
        there.replay(ids)
        assert here._way is not None
        assert there._way is not None
        assert here._way._looks == there._way._looks
        places.append(here._way._looks[0][0])
    assert len(set(places)) > 4
    assert max(places) - min(places) < 20
