"""The spans of what a request asks of workers: one of the whole, by GenAI's conventions, and one an attempt.

They are made of the record when it ends. Nothing is done for a token.
"""

from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

from inferloom.v1 import inference_pb2 as pb
from inferloom_gateway.calls.listener import Listener
from inferloom_gateway.calls.records import Attempt, Record
from inferloom_mesh.access_line import CANCELLED, error_name
from inferloom_mesh.net import Address
from inferloom_mesh.otlp_encoding import CLIENT, Attributes, Value
from inferloom_mesh.trace_context import OpenSpan, new_span_id
from inferloom_mesh.tracer import Tracer

PROVIDER = "inferloom"

_OPERATIONS = {"generate": "text_completion", "embed": "embeddings"}
"""Under GenAI's names, where it has some; what else there is has ours."""

_RPC = {
    "generate": "Generate",
    "embed": "Embed",
    "rerank": "Rerank",
    "tokenize": "Tokenize",
    "detokenize": "Detokenize",
    "tokenizer": "GetTokenizer",
}

_SAMPLING = ("temperature", "top_p", "top_k", "presence_penalty", "frequency_penalty", "seed")

_REASONS = {
    pb.FINISH_REASON_STOP: "stop",
    pb.FINISH_REASON_LENGTH: "length",
    pb.FINISH_REASON_TOOL_CALLS: "tool_calls",
    pb.FINISH_REASON_DEADLINE: "deadline",
}


@dataclass(slots=True)
class _Kept:
    """What is kept of a request until its record ends."""

    span: OpenSpan
    operation: str
    asked: dict[str, Value] = field(default_factory=dict)


class CallSpans(Listener):
    """Makes them."""

    def __init__(self, tracer: Tracer) -> None:
        self._tracer = tracer

    def on_called(self, record: Record, attempt: Attempt, request: Any) -> None:
        """Name the attempt's span, for its worker's to be made under."""
        if record.trace is None:
            span = self._tracer.under(record.context.traceparent, record.context.tracestate)
            if span is None:
                return
            record.trace = _kept(span, record, request)
        attempt.span_id = new_span_id()

    def on_ended(self, record: Record) -> None:
        """Make all of them."""
        kept, record.trace = record.trace, None
        if not isinstance(kept, _Kept):
            return
        export, began, span = self._tracer.export, record.began, kept.span
        ended = record.ended_s or 0.0
        state, model, first = span.here.state, record.model, record.first_token_s
        error = error_name(record.error) or (CANCELLED if record.cancelled else "")
        export.add(
            f"{kept.operation} {model}",
            CLIENT,
            span.at,
            (began, began + ended),
            _whole(record, kept, error) | _used(record),
            own={} if first is None else {"gen_ai.response.time_to_first_chunk": first},
            error=record.error is not None,
            state=state,
            events=[
                (
                    "inferloom.moved",
                    began + move.at_s,
                    {
                        "inferloom.tokens": move.tokens,
                        "inferloom.worker": move.went_to,
                        "error.type": move.why,
                    },
                )
                for move in record.moves
            ],
        )
        method = f"inferloom.v1.InferenceService/{_RPC.get(record.method, record.method)}"
        for attempt in record.attempts:
            if not attempt.span_id:
                continue
            export.add(
                method,
                CLIENT,
                span.under(attempt.span_id),
                (began + attempt.began_s, began + (ended if attempt.ended_s is None else attempt.ended_s)),
                _tried(attempt, method),
                error=attempt.error is not None,
                state=state,
                events=()
                if attempt.accepted_s is None
                else [("inferloom.accepted", began + attempt.accepted_s, {})],
                link=attempt.after,
            )


def _kept(span: OpenSpan, record: Record, request: Any) -> _Kept:
    operation = _OPERATIONS.get(record.method, record.method)
    if not isinstance(request, pb.GenerateRequest):
        return _Kept(span, operation)
    if request.HasField("chat"):
        operation = "chat"
    asked: dict[str, Value] = {}
    sampling, stopping = request.sampling, request.stopping
    for name in _SAMPLING:
        if sampling.HasField(name):  # type: ignore[arg-type] # they are its fields' names
            asked[f"gen_ai.request.{name}"] = getattr(sampling, name)
    if sampling.n > 1:
        asked["gen_ai.request.choice.count"] = sampling.n
    if stopping.HasField("max_tokens"):
        asked["gen_ai.request.max_tokens"] = stopping.max_tokens
    return _Kept(span, operation, asked)


def _whole(record: Record, kept: _Kept, error: str) -> dict[str, Value]:
    known: dict[str, Value] = {
        "gen_ai.operation.name": kept.operation,
        "gen_ai.provider.name": PROVIDER,
        "gen_ai.request.model": record.model,
        "inferloom.attempts": len(record.attempts),
    }
    known |= kept.asked
    if record.attempts:
        known |= _place(record.attempts[-1])
    if workers := record.answered_by:
        known["gen_ai.response.model"] = record.model
        known["inferloom.worker"] = workers
    if record.finish_reasons:
        names = (_REASONS.get(pb.FinishReason.ValueType(each), "other") for each in record.finish_reasons)
        known["gen_ai.response.finish_reasons"] = tuple(names)
    if error:
        known["error.type"] = error
    return known


def _used(record: Record) -> dict[str, Value]:
    used: dict[str, Value] = {}
    if record.prompt_tokens:
        used["gen_ai.usage.input_tokens"] = record.prompt_tokens
        used["gen_ai.usage.cache_read.input_tokens"] = record.cached_prompt_tokens
    if record.method == "generate" and (tokens := record.completion_tokens or record.delivered):
        used["gen_ai.usage.output_tokens"] = tokens
    return used


def _tried(attempt: Attempt, method: str) -> Attributes:
    known: dict[str, Value] = {
        "rpc.system.name": "grpc",
        "rpc.method": method,
        "rpc.response.status_code": "OK" if attempt.error is None else attempt.error.row.grpc.name,
        "inferloom.worker": attempt.worker,
        "inferloom.worker.epoch": attempt.epoch,
    }
    known |= _place(attempt)
    if attempt.error is not None:
        known["error.type"] = error_name(attempt.error)
    return known


def _place(attempt: Attempt) -> Attributes:
    return _address(attempt.address)


@lru_cache(1024)
def _address(text: str) -> Attributes:
    try:
        at = Address.parse(text)
    except ValueError:
        return {}
    return {"server.address": at.host, "server.port": at.port}
