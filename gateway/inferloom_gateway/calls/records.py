"""One record per request: what was tried, where, how it went, and how long each part took."""

import time
from collections import deque
from collections.abc import Iterator
from dataclasses import field
from itertools import islice
from typing import Any

from inferloom.v1.inference_pb2 import Timings, Usage
from inferloom_gateway.calls.listener import Listener
from inferloom_mesh.access_line import error_name
from inferloom_mesh.context import CallContext
from inferloom_mesh.durations import seconds
from inferloom_mesh.errors import InferloomError
from inferloom_mesh.light_dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Candidate:
    """A worker that an attempt could have gone to."""

    worker: str
    load: float
    """Its load in relation to its capacity, by which the router judged it."""


@dataclass(slots=True)
class Attempt:
    """One call to one worker. Moments are seconds after the request's arrival."""

    worker: str
    epoch: int
    """Epoch of the worker's registration."""
    candidates: tuple[Candidate, ...]
    began_s: float
    again: bool = False
    """Whether another worker was tried before, for the same call."""
    accepted_s: float | None = None
    """When the worker accepted the request."""
    ended_s: float | None = None
    error: InferloomError | None = None
    """Why it failed; None: it has not."""
    cause: str = ""
    """The same in a word, such as stalled; empty: its error's reason says it all."""
    address: str = ""
    """Where the worker is."""
    span_id: str = ""
    """Its span, under which the worker makes its own; empty: it is not traced."""
    after: str = ""
    """The span of the attempt that failed before it, for the same call."""

    @property
    def why(self) -> str:
        """Why it failed, in a word; empty: it has not."""
        return self.cause or error_name(self.error)


@dataclass(frozen=True, slots=True)
class Move:
    """A request that went on at another worker."""

    tokens: int
    """How many its caller had."""
    left: str
    """The worker that it left; empty: not known."""
    went_to: str
    why: str
    """What became of the call that it left, in a word; empty: not known."""
    at_s: float
    """When the new worker had accepted it, in seconds after the request's arrival."""


@dataclass(slots=True)
class Record:
    """What is known of one request, whose parts (several prompts, batches of inputs) may be several calls.

    Moments are seconds after its arrival.
    """

    context: CallContext
    method: str
    """What is asked of workers: generate, embed, rerank, tokenize, detokenize or tokenizer."""
    model: str
    began: float
    """Its arrival on the gateway's clock."""
    admission: Any = None
    """What let it in, and counts what it used; None: nobody asks who calls."""
    began_at: float = field(default_factory=time.time)
    """Its arrival in seconds since 1970."""
    attempts: list[Attempt] = field(default_factory=list)
    compute_hash: str = ""
    """What computes the answer."""
    first_token_s: float | None = None
    """When the first token or vector came."""
    ended_s: float | None = None
    frames: int = 0
    """Events with tokens or vectors."""
    delivered: int = 0
    """Tokens or vectors in those events."""
    last_frame_s: float = 0.0
    """When the last of them came; whoever needs it keeps it."""
    prompt_tokens: int = 0
    cached_prompt_tokens: int = 0
    completion_tokens: int = 0
    queue_s: float = 0.0
    """The longest that a part waited on its worker."""
    prefill_s: float = 0.0
    decode_s: float = 0.0
    lined_up_s: float | None = None
    """When it first had to wait at the gateway because every worker was full."""
    moves: list[Move] = field(default_factory=list)
    """The times that it went on at another worker."""
    finish_reasons: list[int] = field(default_factory=list)
    """Why each choice of a generation ended, as the contract numbers it."""
    trace: Any = None
    """What whoever traces it keeps; None: nobody does."""
    error: InferloomError | None = None
    """Why it failed; None: it did not."""
    cancelled: bool = False
    """Whether it was given up, by its caller or at the end of a drain, before its end."""

    @property
    def worker(self) -> str:
        """The worker that was tried last; empty if none was."""
        return self.attempts[-1].worker if self.attempts else ""

    @property
    def answered_by(self) -> str:
        """The workers that accepted parts of it and have not failed since, their names with commas."""
        if len(self.attempts) == 1:
            (only,) = self.attempts
            return only.worker if only.accepted_s is not None and only.error is None else ""
        names = (each.worker for each in self.attempts if each.accepted_s is not None and each.error is None)
        return ", ".join(dict.fromkeys(names))

    def used(self, usage: Usage, timings: Timings) -> None:
        """Add what one part used."""
        self.prompt_tokens += usage.prompt_tokens
        self.cached_prompt_tokens += usage.cached_prompt_tokens
        self.completion_tokens += usage.completion_tokens
        self.queue_s = max(self.queue_s, seconds(timings.queue))
        self.prefill_s = max(self.prefill_s, seconds(timings.prefill))
        self.decode_s = max(self.decode_s, seconds(timings.decode))


class Records(Listener):
    """The last ``size`` requests that ended, oldest first."""

    def __init__(self, size: int) -> None:
        self._ended: deque[Record] = deque(maxlen=size)

    def __iter__(self) -> Iterator[Record]:
        return iter(self._ended)

    def last(self, most: int) -> list[Record]:
        """The newest of them, the newest first."""
        return list(islice(reversed(self._ended), most))

    def find(self, request_id: str) -> Record | None:
        """The newest record of a request."""
        return next((r for r in reversed(self._ended) if r.context.request_id == request_id), None)

    def on_ended(self, record: Record) -> None:
        """Keep the record, and nothing of the request itself."""
        if record.error is not None:
            record.error = record.error.kept()
        for attempt in record.attempts:
            if attempt.error is not None:
                attempt.error = attempt.error.kept()
        self._ended.append(record)
