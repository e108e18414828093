"""Messages of the contract for the tables: ordinary ones with something changed."""

from typing import Any

from inferloom.v1 import inference_pb2 as pb
from inferloom.v1 import registry_pb2

INF, NAN = float("inf"), float("nan")


def text(prompt: str = "ab", **fields: Any) -> pb.GenerateRequest:
    """A completion of two tokens."""
    given: dict[str, Any] = {"model": "echo", "stopping": pb.StoppingOptions(max_tokens=2), **fields}
    return pb.GenerateRequest(text=prompt, **given)


def sampling(**fields: Any) -> pb.GenerateRequest:
    """A completion with sampling options."""
    return text(sampling=pb.SamplingOptions(**fields))


def stopping(**fields: Any) -> pb.GenerateRequest:
    """A completion with stopping options."""
    return text(stopping=pb.StoppingOptions(**{"max_tokens": 2, **fields}))


def said(content: str = "hi", role: Any = pb.ROLE_USER) -> pb.ChatMessage:
    """A message."""
    return pb.ChatMessage(role=role, parts=[pb.ContentPart(text=content)])


def chat(*messages: pb.ChatMessage, **fields: Any) -> pb.GenerateRequest:
    """A chat of two tokens."""
    conversation = pb.ChatInput(messages=messages or [said()], **fields)
    return pb.GenerateRequest(model="echo", chat=conversation, stopping=pb.StoppingOptions(max_tokens=2))


def worker(**fields: Any) -> registry_pb2.Worker:
    """A worker as it may register, with something changed."""
    good: dict[str, Any] = {
        "id": "hostile",
        "address": "127.0.0.1:7999",
        "state": registry_pb2.WORKER_STATE_READY,
        "capacity": 1,
    }
    return registry_pb2.Worker(**{**good, **fields})


def register(**fields: Any) -> registry_pb2.RegisterRequest:
    """A registration, with something of its worker changed."""
    return registry_pb2.RegisterRequest(worker=worker(**fields))
