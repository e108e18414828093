"""Constraints in the words of each kind of server. Pure."""

import json
import re
from typing import Any

from inferloom_mesh.errors import unsupported
from inferloom_worker.constrain.grammar import Grammar, Kind
from inferloom_worker.engines.sidecar.kinds import MANNERS, ServerKind


def constraint(grammar: Grammar, kind: ServerKind, *, chat: bool) -> dict[str, Any]:
    """What is added to a request whose answer must conform to ``grammar``.

    Raises:
        InferloomError: UNSUPPORTED_PARAMETER: the server cannot hold an answer to it.
    """
    manner = MANNERS[kind]
    if grammar.kind not in manner.grammars or not (chat or manner.constrains_text):
        raise _cannot(grammar, kind)
    match kind:
        case ServerKind.VLLM:
            return {"structured_outputs": _vllm(grammar)}
        case ServerKind.LLAMA:
            return _llama(grammar)
        case ServerKind.SGLANG if grammar.kind is not Kind.JSON_SCHEMA:
            return _sglang(grammar)
        case _:
            return {"response_format": _response_format(grammar)}


def _vllm(grammar: Grammar) -> dict[str, Any]:
    match grammar.kind:
        case Kind.REGEX:
            return {"regex": grammar.text}
        case Kind.CHOICE:
            return {"choice": json.loads(grammar.text)}
        case Kind.LARK:
            return {"grammar": grammar.text}
        case _ if _any_object(grammar):
            return {"json_object": True}
        case _:
            return {"json": json.loads(grammar.text)}


def _llama(grammar: Grammar) -> dict[str, Any]:
    match grammar.kind:
        case Kind.CHOICE:
            # Its grammars have JSON's quotes and escapes, but for the slash's, which is not made here.
            texts = (json.dumps(text, ensure_ascii=False) for text in json.loads(grammar.text))
            return {"grammar": f"root ::= {' | '.join(texts)}"}
        case Kind.LARK if "::=" in grammar.text:
            return {"grammar": grammar.text}
        case Kind.LARK:
            raise unsupported(
                grammar.param, "llama-server reads grammars in its own form (GBNF), with ::= in its rules."
            )
        case _:
            return {"json_schema": json.loads(grammar.text)}


def _sglang(grammar: Grammar) -> dict[str, Any]:
    match grammar.kind:
        case Kind.REGEX:
            return {"regex": grammar.text}
        case Kind.CHOICE:
            return {"regex": "|".join(f"({re.escape(text)})" for text in json.loads(grammar.text))}
        case _ if "::=" in grammar.text:
            return {"ebnf": grammar.text}
        case _:
            raise unsupported(grammar.param, "SGLang reads grammars in EBNF, with ::= in its rules.")


def _response_format(grammar: Grammar) -> dict[str, Any]:
    if _any_object(grammar):
        return {"type": "json_object"}
    schema = {"name": "answer", "schema": json.loads(grammar.text), "strict": True}
    return {"type": "json_schema", "json_schema": schema}


def _any_object(grammar: Grammar) -> bool:
    return grammar.param == "constraint.json_object"


def _cannot(grammar: Grammar, kind: ServerKind) -> Exception:
    what = grammar.param.rpartition(".")[2]
    return unsupported(grammar.param, f"The model's server ({kind.value}) holds no answers to a {what}.")
