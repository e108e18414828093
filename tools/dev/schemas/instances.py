"""Whether grammars take the valid instances of schemas and none of the invalid ones."""

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import permutations
from pathlib import Path
from typing import Any

from jsonschema.validators import validator_for
from llguidance import LLMatcher

from inferloom_mesh.errors import InferloomError
from inferloom_worker.constrain.grammar import Grammar, Kind
from inferloom_worker.constrain.limits import limits
from inferloom_worker.constrain.refusal import why_refused
from inferloom_worker.constrain.source import source
from inferloom_worker.constrain.vocabulary import vocabulary
from inferloom_worker.text.gguf_tokenizer import load_gguf_tokenizer
from inferloom_worker.text.tokenizer import Tokenizer
from inferloom_worker.weights.gguf import read_gguf

_ORDERS = 24
"""Orders of one object's properties that are tried."""


@dataclass(slots=True)
class Judged:
    """What grammars said of instances."""

    refused_schemas: dict[str, str] = field(default_factory=dict)
    taken: int = 0
    """Valid instances, in some order of their properties."""
    left: int = 0
    """Invalid ones that were refused."""
    refused_valid: dict[str, str] = field(default_factory=dict)
    let_through: dict[str, str] = field(default_factory=dict)
    """Invalid ones that were taken, with the keyword that they violate."""


class Writer:
    """Writes values as a grammar takes them."""

    def __init__(self, tokenizer: Tokenizer, start: LLMatcher) -> None:
        self._tokenizer = tokenizer
        self._matcher = start.deep_copy()
        self._count = 0
        self.furthest = ""
        self._text = ""

    def takes(self, value: Any) -> bool:
        """Whether a value can be written to the grammar's end, with its properties in some order."""
        return any(self._matcher.is_accepting() for _ in self._ways(value))

    def _ways(self, value: Any) -> Iterator[None]:
        """Write the value in each way that the grammar takes; each is taken back afterwards."""
        if isinstance(value, dict) and value:
            for index, order in enumerate(permutations(value.items())):
                if index == _ORDERS:
                    return
                yield from self._each([(f"{json.dumps(k, ensure_ascii=False)}:", v) for k, v in order], "{}")
        elif isinstance(value, list) and value:
            yield from self._each([("", item) for item in value], "[]")
        else:
            yield from self._piece(json.dumps(value, ensure_ascii=False))

    def _each(self, parts: list[tuple[str, Any]], around: str, index: int = 0) -> Iterator[None]:
        if index == len(parts):
            yield from self._piece(around[1])
            return
        before, value = parts[index]
        for _ in self._piece(("," if index else around[0]) + before):
            for _ in self._ways(value):
                yield from self._each(parts, around, index + 1)

    def _piece(self, text: str) -> Iterator[None]:
        ids = self._tokenizer.encode(text, add_special_tokens=False)
        taken = self._matcher.try_consume_tokens(ids)
        before, self._text = self._text, self._text + text
        if taken == len(ids):
            yield
        elif len(self._text) > len(self.furthest):
            self.furthest = self._text
        if taken:
            self._matcher.rollback(taken)
        self._text = before


def judge(instances: Path, model: Path) -> Judged:
    """Ask the grammar of each schema of a file about each instance, through the tokens of a GGUF file."""
    tokenizer = load_gguf_tokenizer(read_gguf(model))
    known = vocabulary(tokenizer, tokenizer.vocab_size)
    judged = Judged()
    for line in instances.read_text(encoding="utf-8").splitlines():
        row = json.loads(line)
        grammar = Grammar(json.dumps(row["schema"]), "schema", Kind.JSON_SCHEMA)
        try:
            asked = source(grammar)
        except InferloomError as error:
            judged.refused_schemas[row["id"]] = error.message
            continue
        start = LLMatcher(known.tokens, asked.text, log_level=0, limits=limits())
        if start.is_error():
            judged.refused_schemas[row["id"]] = why_refused("schema", start.get_error())
            continue
        for index, test in enumerate(row["tests"]):
            writer = Writer(tokenizer, start)
            taken = writer.takes(test["data"])
            name = f"{row['id']}[{index}]"
            if test["valid"]:
                judged.taken += taken
                if not taken:
                    told = "; ".join(asked.notes)
                    judged.refused_valid[name] = f"{told or 'at'} …{writer.furthest[-60:]}"
            else:
                judged.left += not taken
                if taken:
                    found = next(validator_for(row["schema"])(row["schema"]).iter_errors(test["data"]), None)
                    judged.let_through[name] = "no violation" if found is None else str(found.validator)
    return judged
