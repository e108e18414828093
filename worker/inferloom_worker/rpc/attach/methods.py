"""The methods that calls on a link ask for, by the field of their requests."""

from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any

from inferloom_worker.rpc.attach.call import LinkedCall
from inferloom_worker.rpc.incoming import IncomingCall
from inferloom_worker.rpc.inference import Inference

Work = Callable[[LinkedCall, Inference, Any, IncomingCall], Coroutine[Any, Any, None]]


@dataclass(frozen=True, slots=True)
class Method:
    """A method of the inference contract."""

    name: str
    """As gRPC calls it: ``/service/method``."""
    work: Work
    """Answers a call."""


def _generate(call: LinkedCall, inference: Inference, request: Any, incoming: IncomingCall) -> Any:
    return call.generate(inference.begin(request, incoming))


def _embed(call: LinkedCall, inference: Inference, request: Any, incoming: IncomingCall) -> Any:
    return call.embed(inference.embed(request, incoming))


def _single(field: str) -> Work:
    def work(call: LinkedCall, inference: Inference, request: Any, incoming: IncomingCall) -> Any:
        return call.answer(field, getattr(inference, field)(request, incoming))

    return work


def _method(name: str, work: Work) -> Method:
    return Method(f"/inferloom.v1.InferenceService/{name}", work)


METHODS = {
    "generate": _method("Generate", _generate),
    "embed": _method("Embed", _embed),
    "rerank": _method("Rerank", _single("rerank")),
    "tokenize": _method("Tokenize", _single("tokenize")),
    "detokenize": _method("Detokenize", _single("detokenize")),
    "get_tokenizer": _method("GetTokenizer", _single("get_tokenizer")),
}
"""Every kind of request of a StartCall."""
