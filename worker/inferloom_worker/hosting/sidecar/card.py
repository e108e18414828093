"""The card of a model that a server computes."""

from hashlib import blake2b

from inferloom.parameter_table import Honour
from inferloom.v1 import inference_pb2 as pb
from inferloom_worker.constrain.grammar import Kind
from inferloom_worker.engines.sidecar.facts import Facts
from inferloom_worker.engines.sidecar.kinds import ServerKind
from inferloom_worker.hosting.capabilities import CONSTRAINTS, honoured_by, read_by

ENGINE = "sidecar"

_TASKS = {
    "chat": pb.TASK_CHAT,
    "completion": pb.TASK_COMPLETION,
    "embed": pb.TASK_EMBED,
    "rerank": pb.TASK_RERANK,
}

_FORMS = {
    Kind.JSON_SCHEMA: ("json_schema", "json_object"),
    Kind.REGEX: ("regex",),
    Kind.CHOICE: ("choice",),
}


def card(name: str, facts: Facts, context_length: int | None = None) -> pb.Model:
    """The card of what the facts tell, without the time at which it was loaded.

    Nothing on it promises that an answer goes on elsewhere: what a server has said cannot be given to another
    as tokens that it goes on from.

    Args:
        name: What it is served as.
        facts: The facts. Where nothing is known yet, the card has a name, and no tasks.
        context_length: Most tokens of one sequence as the worker's settings say. None: as the server says.
    """
    known = [length for length in (facts.context_length, context_length) if length]
    model = pb.Model(
        id=name,
        owned_by="inferloom",
        tasks=[task for word, task in _TASKS.items() if word in facts.tasks],
        context_length=min(known, default=0),
        supported_parameters=_parameters(facts),
        quantization=facts.quantization,
        embedding_dimensions=facts.dimensions,
        vocabulary_size=facts.vocabulary_size,
        root=facts.model,
        architecture=facts.architecture,
        constraints=_constraints(facts),
        engine=ENGINE,
        server=facts.server if facts.tasks else "",
        continuation=pb.Continuation(continuity=pb.CONTINUITY_NONE),
    )
    generates = not facts.tasks.isdisjoint(("chat", "completion"))
    if facts.sampling and generates:
        for name, value in facts.sampling.items():
            setattr(model.sampling_defaults, name, int(value) if name == "top_k" else value)
    if facts.tasks:
        also = model.sampling_defaults.SerializeToString(deterministic=True)
        model.definition_hash = _hash(facts.weights, also)
        model.compute_hash = _hash(f"{facts.identity} {model.context_length}", also)
    return model


def _hash(told: str, also: bytes) -> str:
    return blake2b(f"{told} ".encode() + also, digest_size=16).hexdigest()


def _constraints(facts: Facts) -> list[str]:
    """The kinds that it holds answers to, of :data:`CONSTRAINTS`."""
    manner = facts.manner
    if "chat" not in facts.tasks and not (manner.constrains_text and "completion" in facts.tasks):
        return []
    can = {name for kind in manner.grammars for name in _FORMS.get(kind, ())} | manner.grammar_forms
    return [name for name in CONSTRAINTS if name in can]


def _parameters(facts: Facts) -> list[str]:
    manner, names = facts.manner, list[str]()
    if not facts.tasks.isdisjoint(("chat", "completion")):
        names += [name for name in honoured_by(Honour.GENERATING) if name in manner.parameters]
        if _constraints(facts):
            names += honoured_by(Honour.CONSTRAINING)
    if "chat" in facts.tasks:
        names += [name for name in honoured_by(Honour.CHATTING) if name in facts.chat_parameters]
        names += read_by({*facts.chat_parameters, *(facts.variables or ())})
    if facts.infills:
        names += honoured_by(Honour.INFILLING)
    if "embed" in facts.tasks:
        names += [
            name
            for name in honoured_by(Honour.EMBEDDING)
            if name != "truncate" or facts.kind is ServerKind.VLLM
        ]
    return names
