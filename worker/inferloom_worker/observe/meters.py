"""A worker's metrics: under vLLM's names where they mean the same, under ours elsewhere."""

import time
from collections.abc import Callable, Iterator
from typing import Any

from inferloom.v1 import inference_pb2 as pb
from inferloom.v1 import worker_pb2
from inferloom_mesh.access_line import CANCELLED, error_name
from inferloom_mesh.call_observer import CallObserver, SeenCall
from inferloom_mesh.durations import seconds
from inferloom_mesh.metrics import Labels, Merged, Metrics
from inferloom_mesh.request_meters import MODEL, RequestMeters
from inferloom_worker.hosting.host import ModelHost
from inferloom_worker.observe.access_log import QUIET


class Meters(CallObserver):
    """Counts calls and their tokens, and measures between the events that go out.

    Models have a label only where they are served: what callers make up would grow without end.
    """

    def __init__(
        self, metrics: Metrics, host: ModelHost, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._host = host
        self._clock = clock
        count = metrics.counter
        self._meters = RequestMeters(metrics)
        self._calls = count(
            "inferloom_calls", "Calls that ended, by what became of them.", "method", MODEL, "outcome"
        )
        self._queries = count("vllm:prefix_cache_queries", "Prompt tokens looked for in the cache.", MODEL)
        self._hits = count("vllm:prefix_cache_hits", "Prompt tokens found in the cache.", MODEL)
        self._drafts = count("vllm:spec_decode_num_draft_tokens", "Tokens guessed ahead.", MODEL)
        self._accepted = count("vllm:spec_decode_num_accepted_tokens", "Guesses that were right.", MODEL)
        measure_load(metrics, host)

    def event(self, call: SeenCall, response: Any) -> None:
        """Note an event's tokens, and measure since the one before."""
        call.last = response
        kind = response.WhichOneof("event")
        if kind == "delta":
            self.tokens(call, len(response.delta.token_ids))
        elif kind == "started":
            call.accepted_at = self._clock()
        elif kind == "part" and call.first_s is None:
            call.first_s = self._clock() - call.began

    def tokens(self, call: SeenCall, count: int) -> None:
        """The same for a Delta that is told by its tokens."""
        now = self._clock()
        call.tokens += count
        if call.first_s is None:
            call.note = call.request.model
            call.first_s = now - call.began
            self._meters.first.add(call.first_s, call.note)
        else:
            self._meters.between.add(now - call.last_at, call.note)
        call.last_at = now

    def ended(self, call: SeenCall) -> None:
        """Count a call, and what it used."""
        if call.method in QUIET:
            return
        model = getattr(call.request, "model", "")
        if not any(card.id == model for card in self._host.cards):
            model = ""
        outcome = error_name(call.error) or ("ok" if call.complete else CANCELLED)
        self._calls.add(call.method, model, outcome)
        if call.tokens:
            self._meters.generated.add(model, by=call.tokens)
        last = call.last
        if not (isinstance(last, (pb.GenerateResponse, pb.EmbedResponse)) and last.HasField("completed")):
            return
        usage, times, meters = last.completed.usage, last.completed.timings, self._meters
        meters.read(model, usage.prompt_tokens, seconds(times.queue), seconds(times.prefill))
        meters.whole.add(self._clock() - call.began, model)
        if isinstance(last, pb.GenerateResponse):
            self._queries.add(model, by=usage.prompt_tokens)
            self._hits.add(model, by=usage.cached_prompt_tokens)
            # Those without text, which no event brought.
            meters.generated.add(model, by=max(0, usage.completion_tokens - call.tokens))
            meters.answered(model, usage.completion_tokens, seconds(times.decode))
            self._accepted.add(model, by=usage.accepted_draft_tokens)
            self._drafts.add(model, by=usage.accepted_draft_tokens + usage.rejected_draft_tokens)


def measure_load(metrics: Metrics, host: ModelHost) -> None:
    """Add how busy the models are, read when the metrics are."""

    def gauge(
        name: str,
        text: str,
        value: Callable[[worker_pb2.ModelStatus], float | None],
        merged: Merged = "sum",
    ) -> None:
        def read() -> Iterator[tuple[Labels, float]]:
            for model in host.models:
                if (number := value(model.status())) is not None:
                    yield (model.card.id,), number

        metrics.gauge(name, text, (MODEL,), read, merged=merged)

    gauge("vllm:num_requests_running", "Sequences or texts in the running batch.", lambda s: s.load.running)
    gauge("vllm:num_requests_waiting", "Requests that wait for it.", lambda s: s.load.waiting)
    gauge("vllm:kv_cache_usage_perc", "Share of the KV cache in use, from 0 to 1.", _kv_use, "largest")
    gauge("inferloom_weights_bytes", "Memory of the weights, adapters included.", lambda s: s.weights_bytes)


def _kv_use(status: worker_pb2.ModelStatus) -> float | None:
    total = status.load.total_kv_tokens
    return 1 - status.load.free_kv_tokens / total if total else None
