"""Requests of the contract from what people write. Pure."""

import json
import struct
from collections.abc import Mapping, Sequence
from typing import Any, TypedDict

from inferloom.v1 import inference_pb2 as pb


class Options(TypedDict, total=False):
    """How an answer is made; what is left out is as the model's card says."""

    temperature: float
    top_p: float
    top_k: int
    min_p: float
    presence_penalty: float
    frequency_penalty: float
    repetition_penalty: float
    seed: int
    n: int
    max_tokens: int
    min_tokens: int
    stop: str | Sequence[str]
    """Texts that end it; one may stand without its list, as of all texts here."""
    ignore_eos: bool
    priority: int
    """Higher is earlier."""
    json_schema: Mapping[str, Any] | str
    """What the answer conforms to."""
    regex: str
    """What the answer matches."""
    choices: str | Sequence[str]
    """What the answer is one of."""
    top_logprobs: int
    """Log-probabilities, and so many alternatives at each token."""
    request_id: str


_SAMPLING = tuple(pb.SamplingOptions.DESCRIPTOR.fields_by_name)
_STOPPING = tuple(pb.StoppingOptions.DESCRIPTOR.fields_by_name)

Message = tuple[str, str] | pb.ChatMessage
"""Who speaks (``system``, ``user`` or ``assistant``) and what is said; or a turn of the contract."""


def chat(
    model: str, messages: str | Sequence[Message], tools: Sequence[pb.Tool], options: Options
) -> pb.GenerateRequest:
    """A conversation to be gone on with; a text is one turn of the user.

    Raises:
        ValueError: Nobody is called like that.
    """
    turns = [("user", messages)] if isinstance(messages, str) else messages
    request = _generation(model, options)
    request.chat.CopyFrom(pb.ChatInput(messages=map(_turn, turns), tools=tools))
    return request


def completion(model: str, prompt: str | Sequence[int], options: Options) -> pb.GenerateRequest:
    """A text, or token ids, to be gone on with."""
    request = _generation(model, options)
    if isinstance(prompt, str):
        request.text = prompt
    else:
        request.token_ids.CopyFrom(pb.TokenIds(ids=prompt))
    return request


def embedding(model: str, texts: str | Sequence[str], dimensions: int | None) -> pb.EmbedRequest:
    """Texts to be embedded."""
    inputs = [pb.EmbedInput(text=text) for text in _listed(texts)]
    return pb.EmbedRequest(model=model, inputs=inputs, dimensions=dimensions)


def ranking(model: str, query: str, documents: str | Sequence[str]) -> pb.RerankRequest:
    """Documents to be put in the order of how well they answer a query."""
    return pb.RerankRequest(model=model, query=query, documents=_listed(documents))


def vector(embedding: pb.Embedding) -> list[float]:
    """The numbers of a vector."""
    return list(struct.unpack(f"<{len(embedding.vector) // 4}f", embedding.vector))


def _listed(texts: str | Sequence[str]) -> Sequence[str]:
    """Texts; one alone is a sequence of letters to Python, and one text to whoever writes it."""
    return [texts] if isinstance(texts, str) else texts


def _turn(message: Message) -> pb.ChatMessage:
    if isinstance(message, pb.ChatMessage):
        return message
    role, text = message
    return pb.ChatMessage(role=pb.Role.Value(f"ROLE_{role.upper()}"), parts=[pb.ContentPart(text=text)])


def _generation(model: str, options: Options) -> pb.GenerateRequest:
    given: dict[str, Any] = dict(options)
    request = pb.GenerateRequest(model=model, request_id=given.pop("request_id", ""))
    if constraint := _constraint(given):
        request.constraint.CopyFrom(constraint)
    if (alternatives := given.pop("top_logprobs", None)) is not None:
        request.output.CopyFrom(pb.OutputOptions(logprobs=True, top_logprobs=alternatives))
    if (priority := given.pop("priority", None)) is not None:
        request.priority = priority
    for name, value in given.items():
        part: Any = request.sampling if name in _SAMPLING else request.stopping
        if name not in _SAMPLING and name not in _STOPPING:
            raise ValueError(f"{name} is no option of a generation")
        if isinstance(value, Mapping):
            getattr(part, name).update(value)
        elif part.DESCRIPTOR.fields_by_name[name].is_repeated:
            getattr(part, name).extend(_listed(value))
        else:
            setattr(part, name, value)
    return request


def _constraint(given: dict[str, Any]) -> pb.Constraint | None:
    schema, regex, choices = (given.pop(name, None) for name in ("json_schema", "regex", "choices"))
    if sum(each is not None for each in (schema, regex, choices)) > 1:
        raise ValueError("json_schema, regex and choices exclude each other")
    if schema is not None:
        return pb.Constraint(json_schema=schema if isinstance(schema, str) else json.dumps(schema))
    if regex is not None:
        return pb.Constraint(regex=regex)
    return None if choices is None else pb.Constraint(choice=pb.Choices(texts=_listed(choices)))
